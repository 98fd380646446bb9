service "web" {
  command = ["y"]
}
