supervisor {
}
supervisor {
}
locals {
  a = 1
}
locals {
  a = 2
}
service "web" {
  command = ["x"]
  port "http" {
  }
  port "http" {
  }
  check "a" {
    stall {
    }
  }
  check "a" {
    stall {
    }
  }
  env = {
    A = 1
    A = 2
  }
  restart {
  }
  restart {
  }
  listen "l" {
    address = "tcp://127.0.0.1:80"
  }
  needs = ["db", "db"]
}
service "db" {
  command = ["x"]
  listen "l" {
    address = "tcp://127.0.0.1:80"
  }
}
service "web" {
  command  = ["x"]
  instance = 3
}
group "g" {
  members = ["web", "web"]
}
group "h" {
  members = ["db", "web"]
}
