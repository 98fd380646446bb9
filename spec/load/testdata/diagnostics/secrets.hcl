locals {
  token = env.SECRET
}
service "web" {
  command   = ["x"]
  instances = env.SECRET
  nice      = parseint(local.token, 10)
  user      = env.SECRET
  group     = local.token
  directory = env.SECRET
  mode      = env.SECRET
  needs     = [env.SECRET]
  stop {
    signal  = env.SECRET
    timeout = env.SECRET
  }
  env = {
    "A=${local.token}" = "x"
    B                  = "hunter2 in the file"
  }
  env_fil = { C = "x" }
  check "http" {
    http {
      url     = "${local.token}"
      status  = env.SECRET
      headers = { X = env.SECRET, "Y:" = env.SECRET }
    }
  }
  check "tcp" {
    tcp {
      address = env.SECRET
    }
  }
  check "log" {
    log {
      pattern = "(${env.SECRET}"
    }
  }
  log {
    to = [env.SECRET]
  }
  umask   = env.SECRET
  env_file = env.SECRET
}
service "literal" {
  command = ["x"]
  env = { PASSWORD = "hunter2", TOKEN = "hunter2", BAD = uper("hunter2") }
}
service "literal_call" {
  command = ["x"]
  env     = { PASSWORD = parseint("hunter2", 10) }
}
service "literal_trial" {
  command = ["x"]
  env     = { PASSWORD = parseint("hunter2-${instance.index}", 10) }
}
service "numbers" {
  command            = ["x"]
  instances          = env.N
  available_at_least = 5
}
supervisor {
  shutdown_timeout = "${length(env.SECRET)}s"
}
service "slow" {
  command = ["x"]
  stop {
    timeout = "${length(env.SECRET)}m"
  }
  port "p" {
    base = 65000 + length(env.SECRET)
  }
  instances = 600
}
service "hook" {
  command = ["${env.SECRET} --x"]
  rlimits = { (env.SECRET) = 1 }
  sandbox {
    capabilities = [env.SECRET]
  }
  listen "l" {
    address = env.SECRET
  }
  port "p" {
    base = 60000
  }
  port "q" {
    base = 60000
  }
}
