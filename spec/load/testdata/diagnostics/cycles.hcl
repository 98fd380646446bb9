locals {
  a = local.b
  b = local.a
}
service "api" {
  command = ["x"]
  needs   = ["db"]
}
service "db" {
  command = ["x"]
  after   = ["cache", "api"]
}
service "cache" {
  command = ["x"]
  needs   = ["api"]
}
service "self" {
  command = ["x"]
  needs   = ["self", "cahce"]
}
service "waits" {
  command = ["x"]
  needs   = ["off"]
}
service "off" {
  command = ["x"]
  enabled = false
}
group "g" {
  members = ["ap", "db"]
}
