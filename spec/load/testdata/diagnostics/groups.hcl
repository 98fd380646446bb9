group "ordered" {
  members  = ["db", "api", "web"]
  strategy = "rest_for_one"
}
group "wrong" {
  members  = ["front", "back", "far"]
  strategy = "one_for_all"
}
group "each" {
  members = ["b", "a"]
}
service "db" {
  command            = ["x"]
  instances          = 2
  available_at_least = 2
  recycle {
    max_age = "24h"
  }
}
service "api" {
  command = ["x"]
  needs   = ["db"]
  recycle {
    schedule = "0 4 * * *"
    jitter   = 0.2
  }
}
service "web" {
  command = ["x"]
  after   = ["api"]
  recycle {
    schedule = "0 4 31 2 *"
  }
}
service "front" {
  command = ["x"]
  needs   = ["between"]
}
service "between" {
  command = ["x"]
  after   = ["far"]
}
service "back" {
  command = ["x"]
  recycle {
    max_age = "10ms"
  }
}
service "far" {
  command = ["x"]
}
service "a" {
  command = ["x"]
}
service "b" {
  command = ["x"]
  needs   = ["a"]
}
