supervisor {
  shutdown_timeout = 60
  state_dir        = "var/lib"
  metrics          = "9109"
  control {
    mode = 600
  }
}
service "web" {
  command   = "/bin/web --port 80"
  instances = "three"
  enabled   = "yes"
  nice      = 1.5
  umask     = 022
  user      = ["root"]
  directory = "data"
  env       = ["A=1"]
  env_file  = 7
  needs     = "db"
  rlimits   = { nofiles = 1, core = "lots", nproc = "5:1" }
  restart {
    delay         = "5"
    max_delay     = "-1s"
    factor        = 0.5
    jitter        = 2
    success_codes = [256]
    fatal_codes   = 3
  }
  stop {
    signal  = "SIGTREM"
    timeout = "7d"
  }
  memory {
    high   = "200M"
    max    = "150%"
    growth = "10MiB"
  }
  cpu {
    max    = "two"
    weight = 0
  }
  log {
    to       = ["file", "syslog", "file"]
    max_size = "x"
    format   = "xml"
  }
  sandbox {
    capabilities = ["CAP_NET_BIND_SERVICE", "NET_BIND"]
    read_only    = ["etc"]
    syscalls     = "all"
  }
  listen "1http" {
    address = "tcp://0.0.0.0:80800"
  }
  listen "u" {
    address = "unix://run/x.sock"
  }
  recycle {
    schedule = "0 4 * *"
  }
  slo = "100%"
  check "h" {
    interval = "0s"
    http {
      url        = "localhost:80"
      status     = "abc"
      body_match = "("
      method     = "G T"
    }
  }
  check "m" {
    metrics {
      url  = "http://localhost/metrics"
      expr = "rate(x)"
    }
  }
}
alert "a" {
  on      = ["crashloop", "nonsense"]
  webhook = "ftp://example.com"
}
