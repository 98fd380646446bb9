# What the last scene of `make demo` supervises: a web service that clients use while
# its binary is copied over. DEMO_DIR is a folder that it makes.
service "shop" {
  command   = ["${env.DEMO_DIR}/shop"]
  instances = 3

  # Bound once, and shared: a new version can be tried beside the one that serves.
  listen "http" {
    address = "unix://${env.DEMO_DIR}/shop.sock"
  }

  # What is copied there is deployed by itself.
  release {
    path  = "${env.DEMO_DIR}/shop"
    watch = true
  }

  # The first instance of a new version goes alone, and is on trial for so long.
  update {
    canary      = 1
    min_healthy = "2s"
  }

  restart {
    delay  = "200ms"
    jitter = 0
  }

  crash_loop {
    failures = 3
  }
}
