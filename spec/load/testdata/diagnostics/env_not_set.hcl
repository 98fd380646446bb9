service "web" {
  command   = ["x", env.NOT_THERE]
  env       = { A = coalesce(env.NOT_THERE, "default") }
  directory = "${env.NOT_THERE}/x"
}
