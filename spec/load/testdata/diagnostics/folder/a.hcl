service "web" {
  command = ["x"]
}
