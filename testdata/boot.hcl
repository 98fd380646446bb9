# The boot of a machine as tasks and services, with busybox. nines-init itself
# has mounted /proc, /sys, /dev, /dev/pts, /dev/shm, /run and cgroup2, brought up
# the loopback interface and set the hostname of /etc/hostname. To be copied to
# /etc/nines and cut to measure; testdata/vm runs it on an ext4 disk.

supervisor {
  shutdown_timeout = "30s"
}

locals {
  # fsck(8): 1 is "errors corrected". 2 wants a reboot, 4 a person.
  fsck_done = [0, 1]
}

service "modules" {
  type    = "task"
  command = ["sh", "-c", "[ ! -e /etc/modules ] || grep -v '^#' /etc/modules | xargs -r -n 1 modprobe"]
}

# Devices that were there before us, then those that come and go.
service "coldplug" {
  type    = "task"
  command = ["mdev", "-s"]
  needs   = ["modules"]
}

service "mdev" {
  command = ["mdev", "-df"]
  after   = ["coldplug"]
}

service "fsck" {
  type    = "task"
  command = ["sh", "-c", "e2fsck -p $(awk '$2 == \"/\" { print $1 }' /etc/fstab)"]
  needs   = ["coldplug"]
  restart {
    policy        = "never"
    success_codes = local.fsck_done
  }
  start {
    timeout = "1h"
  }
}

service "root-rw" {
  type    = "task"
  command = ["mount", "-o", "remount,rw", "/"]
  needs   = ["fsck"]
}

service "mounts" {
  type    = "task"
  command = ["mount", "-a"]
  needs   = ["root-rw"]
}

service "swap" {
  type    = "task"
  command = ["swapon", "-a"]
  needs   = ["mounts"]
}

service "sysctl" {
  type    = "task"
  command = ["sh", "-c", "[ ! -e /etc/sysctl.conf ] || sysctl -q -p /etc/sysctl.conf"]
  needs   = ["mounts"]
}

service "tmp" {
  type    = "task"
  command = ["sh", "-c", "rm -rf /tmp/* /tmp/.[!.]*"]
  needs   = ["mounts"]
}

# lo is up already: it has no place in /etc/network/interfaces.
service "network" {
  type    = "task"
  command = ["sh", "-c", "[ ! -e /etc/network/interfaces ] || { mkdir -p /run/network; ifup -a -f; }"]
  needs   = ["sysctl"]
}

# Programs that log to /dev/log. What services print, nines keeps itself.
service "syslog" {
  command = ["syslogd", "-n", "-O", "/var/log/messages"]
  needs   = ["mounts"]
}

service "klog" {
  command = ["klogd", "-n"]
  needs   = ["syslog"]
}

service "getty" {
  command = ["getty", "-L", "0", "console", "vt220"]
  after   = ["network", "syslog"]
  restart {
    delay       = "1s"
    reset_after = "5s"
  }
}
