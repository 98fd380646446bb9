service "web" {
  command = ["x"]
  env = { PASSWORD = "hunter2", TOKEN = "hunter2 ${x + } }
}
