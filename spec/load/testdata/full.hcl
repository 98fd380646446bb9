# Every block and attribute of the language, in real HCL.

supervisor {
  state_dir        = "/var/lib/nines"
  log_dir          = "/var/log/nines"
  shutdown_timeout = "60s"
  watchdog         = "/dev/watchdog"
  metrics          = "127.0.0.1:9109"
  web              = "127.0.0.1:9110"
  control {
    group = "root"
    mode  = "0660"
  }
}

locals {
  port = 8080
  root = "/opt/web"
}

check "root" {
  interval = "30s"
  disk {
    path     = "/"
    free     = "5%"
    inodes   = "5%"
    writable = true
  }
  on_failure = "alert"
}

check "clock" {
  clock {
    step = "1s"
  }
}

check "pressure" {
  pressure {
    of    = "memory"
    above = "20%"
  }
}

check "gateway" {
  tcp {
    address = "192.0.2.1:53"
  }
}

alert "page" {
  on      = ["crash_loop", "rollback", "quarantine"]
  command = ["/usr/local/bin/page"]
}

alert "hook" {
  on      = ["crash_loop"]
  webhook = "https://example.com/hook"
}

group "app" {
  members  = ["web", "db"]
  strategy = "one_for_one"
}

service "migrate" {
  type    = "task"
  command = ["/usr/local/bin/migrate"]
  env_file = "-/etc/default/migrate"
}

service "db" {
  command   = ["/usr/bin/db"]
  mode      = "active-passive"
  instances = 2
  stop {
    signal  = "INT"
    timeout = "30s"
    command = ["/usr/bin/db", "--checkpoint"]
  }
  reload {
    command = ["/usr/bin/db", "--reload"]
  }
  standby {
    kind = "warm"
    promote {
      signal = "SIGUSR1"
    }
    demote {
      command = ["/usr/bin/db", "--demote", instance.id]
    }
  }
  recycle {
    schedule = "0 4 * * *"
  }
  ready {
    notify = "systemd"
  }
  check "beat" {
    timeout = "10s"
    heartbeat {
    }
  }
}

service "web" {
  command            = ["${local.root}/web", "--listen", "127.0.0.1:${port.http}", "--name", instance.id, "--cpus", host.cpus]
  type               = "service"
  instances          = 3
  mode               = "active-active"
  enabled            = true
  needs              = ["migrate", "db"]
  after              = []
  user               = "root"
  group              = "root"
  groups             = ["daemon"]
  directory          = "/opt/web"
  umask              = "022"
  nice               = 5
  oom_score_adj      = -100
  env_file           = "/etc/default/web"
  inherit_env        = false
  essential          = true
  available_at_least = 2
  slo                = "99.9%"
  env = {
    LOG_LEVEL = "info"
    INDEX     = instance.index
    TOKEN     = coalesce(env.WEB_TOKEN, "none")
    NAME      = upper("${service.name}@${host.name}")
    RELEASE   = release.id
  }
  rlimits = {
    nofile = 65536
    core   = "unlimited"
    nproc  = "100:200"
  }
  start {
    timeout = "30s"
  }
  stop {
    signal  = "SIGTERM"
    timeout = "10s"
    command = []
  }
  reload {
    signal = "SIGHUP"
  }
  recycle {
    max_age = "24h"
    jitter  = 0.1
  }
  restart {
    policy        = "always"
    delay         = "100ms"
    max_delay     = "30s"
    factor        = 2
    jitter        = 0.1
    reset_after   = "60s"
    success_codes = [0]
    fatal_codes   = [78, 125]
  }
  crash_loop {
    failures = 5
    within   = "60s"
    then     = "rollback"
  }
  ready {
    interval = "500ms"
    http {
      url = "http://127.0.0.1:${port.http}/ready"
    }
  }
  check "alive" {
    interval      = "10s"
    timeout       = "1s"
    failures      = 3
    successes     = 1
    initial_delay = "0s"
    on_failure    = "restart"
    http {
      url         = "https://localhost:${port.http}/healthz"
      socket      = "/run/web-${instance.index}.sock"
      method      = "GET"
      status      = "200-399"
      headers     = { Host = "example.com" }
      body_match  = "^ok"
      max_latency = "200ms"
      ca_file     = "/etc/ssl/ca.pem"
      insecure    = false
    }
  }
  check "probe" {
    exec {
      command = ["/opt/web/probe", instance.index]
    }
    on_failure = "dump"
  }
  check "port" {
    tcp {
      address = "127.0.0.1:${port.http}"
    }
    on_failure = "alert"
  }
  check "rpc" {
    grpc {
      address = "127.0.0.1:${port.rpc}"
      service = "web.v1.Web"
    }
    on_failure = "isolate"
  }
  check "errors" {
    metrics {
      url    = "http://127.0.0.1:${port.http}/metrics"
      expr   = "rate(http_errors_total) / rate(http_requests_total) > 0.05"
      window = "30s"
    }
  }
  check "latency" {
    metrics {
      url  = "http://127.0.0.1:${port.http}/metrics"
      expr = "quantile(0.99, http_request_duration_seconds) > 0.25"
    }
  }
  check "panics" {
    log {
      pattern = "panic:"
      max     = "20/1m"
    }
  }
  check "odd" {
    outlier {
      of = "memory"
    }
  }
  check "spin" {
    cpu {
      above = "95%"
      for   = "30s"
    }
  }
  check "stuck" {
    stall {
      for = "5s"
    }
  }
  memory {
    low           = ""
    swap          = ""
    high          = "200MiB"
    max           = "256MiB"
    restart_above = "180MiB"
    growth        = "10MiB/1m"
    for           = "30s"
    window        = "10m"
    on_leak       = "restart"
    required      = true
  }
  cpu {
    max    = "150%"
    weight = 100
  }
  pids {
    max = 512
  }
  io {
    weight = 100
  }
  isolate {
    keep             = 1
    ttl              = "1h"
    memory_max_total = "25%"
  }
  sandbox {
    no_new_privileges = true
    capabilities      = ["NET_BIND_SERVICE"]
    read_only         = ["/"]
    writable          = ["/var/lib/web"]
    private_tmp       = true
    private_network   = false
    private_pids      = false
    syscalls          = "default"
  }
  listen "public" {
    address = "tcp://0.0.0.0:8080"
    share   = "inherit"
  }
  listen "admin" {
    address = "unix:///run/web.sock"
    mode    = "0660"
    user    = "root"
  }
  port "http" {
  }
  port "rpc" {
    base = 9000
  }
  log {
    max_size = "10MiB"
    keep     = 5
    compress = true
    rate     = "1MiB/1s"
    to       = ["file", "stdout"]
    streams  = "split"
    format   = "json"
  }
  update {
    order        = "auto"
    max_parallel = 1
    canary       = 1
    min_healthy  = "10s"
    deadline     = "5m"
    auto_revert  = true
    probation    = "1h"
  }
  release {
    path  = "/opt/web/web"
    watch = true
    keep  = 5
  }
  data {
    paths         = ["/var/lib/web"]
    restore       = false
    before_update = []
    on_revert     = ["/opt/web/restore"]
  }
}
