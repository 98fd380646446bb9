service "web" {
  command = ["x",
  user = root
}
