locals {
  ports = { http = 80 }
  bad   = uper("x")
  inst  = instance.index
}
service "web" {
  command   = [web, intance.index, instance.idx, env, local.prot, local.ports.htp, port.http, release.path, env.SECRET.x]
  instances = instance.index
  enabled   = local.inst == 0
  directory = "${instance.index + "x"}"
  port "https" {
  }
  env = {
    A = min(1, [2])
    B = parseint("hunter2x", 10)
  }
  user = upper("${1}${[2]}")
}
service "ports" {
  command = ["x", port.htps]
  port "https" {
  }
}
service "release" {
  command = ["${release.path}/x"]
}
service "type" {
  command = { a = 1 }
  env     = { A = instance.index, B = [1] }
}
