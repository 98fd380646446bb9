# What the images beside this file run.

supervisor {
  # Less than the engine's own patience, which is 10 s with docker stop and
  # terminationGracePeriodSeconds (30) under Kubernetes: whoever is asked to
  # stop and does not is then killed by nines, which says so, and not together
  # with nines by the engine.
  shutdown_timeout = "8s"
}

# The service that the container is for. When it has ended for good, so has the
# container, with its exit status.
service "web" {
  command   = ["web", "-addr", "0.0.0.0:8080"]
  essential = true

  stop {
    timeout = "6s"
  }
  crash_loop {
    failures = 5
    within   = "60s"
    then     = "shutdown" # the engine, or Kubernetes, starts the container again
  }
  log {
    to = ["stdout"] # `docker logs` has them; nothing is written to the image
  }
}
