service "web" {
  command = ["xÿ"]
}
