service "good" {
  command = ["/bin/web"]
  memory {
    restart_above = "180MiB"
    growth        = "10MiB/1m"
    for           = "30s"
    window        = "10m"
    on_leak       = "restart"
  }
}
service "equal" {
  command = ["/bin/web"]
  memory {
    max           = "256MiB"
    restart_above = "256MiB"
  }
}
service "share" {
  command = ["/bin/web"]
  memory {
    max           = "4GiB"
    restart_above = "50%"
  }
}
service "throttled" {
  command = ["/bin/web"]
  memory {
    high          = "200MiB"
    restart_above = "220MiB"
  }
}
service "for" {
  command = ["/bin/web"]
  memory {
    growth = "1MiB/1m"
    for    = "1m"
  }
}
service "window" {
  command = ["/bin/web"]
  memory {
    restart_above = "100MiB"
    window        = "5m"
    on_leak       = "alert"
  }
}
service "zero" {
  command = ["/bin/web"]
  memory {
    restart_above = "100MiB"
    growth        = "0/1m"
  }
}
service "short" {
  command = ["/bin/web"]
  memory {
    growth = "1MiB/1m"
    window = "5s"
  }
}
service "late" {
  command = ["/bin/web"]
  memory {
    max    = "64MiB"
    growth = "10MiB/1m"
  }
}
service "kept" {
  command            = ["/bin/web"]
  instances          = 2
  available_at_least = 2
  memory {
    restart_above = "100MiB"
  }
}
service "never" {
  command = ["/bin/web"]
  restart {
    policy = "never"
  }
  memory {
    growth = "1MiB/1m"
  }
}
service "alert" {
  command            = ["/bin/web"]
  available_at_least = 1
  memory {
    growth  = "1MiB/1m"
    on_leak = "alert"
  }
}
service "wrong" {
  command = ["/bin/web"]
  memory {
    restart_above = "0"
    growth        = "fast"
    for           = "soon"
    on_leak       = "panic"
  }
}
