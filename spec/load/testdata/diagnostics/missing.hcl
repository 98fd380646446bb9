service "web" {
}
service {
  command = ["x"]
}
service "a" "b" {
  command = ["x"]
}
service "c/d" {
  command = []
}
service "memory.max" {
  command = [""]
}
service "e" {
  command = ["/bin/e --verbose"]
  check "x" {
  }
  check "y" {
    http {
    }
  }
  ready {
  }
  release {
  }
  data {
  }
  recycle {
  }
  pids {
  }
  listen "x" {
  }
}
alert "a" {
}
group "g" {
}
