service "a" {
  command = ["a"]
  restart {
    delay       = "40s"
    fatal_codes = [0]
  }
  memory {
    low           = "3GiB"
    high          = "2GiB"
    max           = "1GiB"
    restart_above = "50%"
  }
  update {
    canary       = 2
    max_parallel = 3
    min_healthy  = "10m"
  }
  available_at_least = 2
  reload {
    signal  = "HUP"
    command = ["x"]
  }
  recycle {
    max_age  = "1h"
    schedule = "0 0 31 2 *"
  }
  ready {
    fd = 3
    tcp {
      address = "127.0.0.1:1"
    }
  }
  check "two" {
    tcp {
      address = "127.0.0.1:1"
    }
    stall {
    }
  }
  check "beat" {
    timeout = "1ms"
    heartbeat {
    }
  }
  standby {
  }
  listen "x" {
    address = "tcp://127.0.0.1:80"
    mode    = "0600"
  }
  port "p" {
    base = 65535
  }
  instances = 1
}
service "b" {
  command = ["b"]
  mode    = "active-passive"
}
service "t" {
  command = ["t"]
  type    = "task"
  mode    = "active-passive"
  update {
  }
  recycle {
    max_age = "1h"
  }
  restart {
    policy = "always"
  }
  ready {
    delay = "1s"
  }
}
service "slow" {
  command = ["x"]
  start {
    timeout = "1s"
  }
  ready {
    delay = "2s"
  }
}
service "many" {
  command   = ["x"]
  instances = 10
  port "p" {
    base = 65530
  }
}
service "first" {
  command   = ["x"]
  instances = 2
  mode      = "active-passive"
  update {
    order = "start-first"
  }
}
alert "both" {
  on      = ["exited"]
  command = ["x"]
  webhook = "https://example.com"
}
service "none" {
  command   = ["x"]
  type      = "task"
  instances = 0
}
service "nested" {
  command = ["x"]
  data {
    paths = ["/d/e/", "/f", "/d"]
  }
}
service "root" {
  command = ["x"]
  data {
    paths = ["/var/.."]
  }
}
service "data" {
  command            = ["x"]
  available_at_least = 1
  data {
    paths   = ["/d"]
    restore = true
  }
  release {
    path = "/d/x"
  }
  update {
    order = "start-first"
  }
  listen "u" {
    address = "unix:///run/u.sock?user=nobody-here"
    share   = "reuseport"
  }
  listen "d" {
    address = "udp://127.0.0.1:5353"
  }
  memory {
    high = "0"
  }
  log {
    rate = "0/1s"
    to   = []
  }
  check "h" {
    http {
      url      = "https://127.0.0.1:99999/"
      insecure = true
      ca_file  = "/x"
      headers  = { "A B" = "x" }
    }
  }
  check "t" {
    tcp {
      address = ":80"
    }
  }
  ready {
    notify  = "systemv"
    timeout = "1s"
  }
}
check "node" {
  on_failure = "restart"
  disk {
  }
}
service "descriptors" {
  command = ["x"]
  listen "a" {
    address = "tcp://127.0.0.1:7001"
  }
  listen "b" {
    address = "tcp://127.0.0.1:7002"
  }
  ready {
    fd = 4
  }
}

service "says" {
  command = ["x"]
  ready {
    interval  = "5s"
    successes = 2
    log {
      pattern = "up"
      max     = "3/1m"
    }
  }
}

service "reads" {
  command = ["x"]
  check "much" {
    log {
      pattern = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    }
  }
  check "more" {
    log {
      pattern = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
    }
  }
}
