supervisr {
}
port = 8080
locals {
  a = 1
  b {
  }
}
service "web" {
  comand    = ["/bin/web"]
  command   = ["/bin/web"]
  instance  = 3
  start     = "30s"
  user {
  }
  restrat {
    delay = "1s"
  }
  restart {
    dealy = "1s"
  }
  check "a" {
    htp {
    }
    on_failure = "restrat"
  }
}
