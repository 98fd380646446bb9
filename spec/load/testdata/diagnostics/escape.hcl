service "web" {
  command = ["a\u001b[31m [31mred"]
 nice = 99
 user = "x"}
