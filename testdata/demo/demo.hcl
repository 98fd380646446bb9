# What `make demo` supervises. DEMO_BIN and DEMO_DIR are folders that it makes.

# A task runs to completion once; what needs it waits for its success.
service "migrate" {
  type    = "task"
  command = ["${env.DEMO_BIN}/web", "-migrate", "-db", "${env.DEMO_DIR}/db"]
}

# A web service: three replicas, each on a free port of its own.
service "web" {
  command   = ["${env.DEMO_BIN}/web", "-db", "${env.DEMO_DIR}/db"]
  instances = 3
  needs     = ["migrate"]

  port "http" {}

  restart {
    delay  = "250ms"
    jitter = 0
  }
}

# A service that crashes whenever it is started. It must not take the machine
# with it: each delay is twice the last, and after five failures it is held,
# which means tried at the longest delay only.
service "flaky" {
  command = ["${env.DEMO_BIN}/web", "-addr", "127.0.0.1:0", "-crash-after", "20ms", "-exit-code", "3"]

  restart {
    delay     = "200ms"
    max_delay = "2s"
    jitter    = 0
  }

  crash_loop {
    failures = 5
    within   = "60s"
    then     = "hold"
  }
}
