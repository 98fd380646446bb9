package vm

import (
	"strings"
	"testing"
)

// A fork bomb leaves no task to be had, for PID 1 neither; a stop ends it, and
// the machine is powered off in order.
func TestMachineUnderForkBomb(t *testing.T) {
	t.Parallel()
	r := Start(t, Machine{Init: Direct, Spec: sleeper + `
service "bomb" {
  command = ["/bin/sh", "-c", "b() { b | b & }; while :; do b; done"]
  enabled = false
}
`, Script: `
up sleeper
echo 400 >/proc/sys/kernel/pid_max
nines start --no-wait bomb
n=0; while [ $n -lt 150 ]; do set -- /proc/[0-9]*; n=$#; done
`, Then: "kill -PWR 1"}).Wait()
	if r.Exit != 0 || r.End != PowerOff || !strings.Contains(r.Console, "now: power off") {
		r.Fatal(t, "exit status %d, the machine's end: %s", r.Exit, r.End)
	}
}

// Memory runs out, again and again, before PID 1's eyes: it goes on, and so does
// what it keeps.
func TestMachineWithoutMemory(t *testing.T) {
	t.Parallel()
	r := Start(t, Machine{Init: Direct, Memory: 256, Spec: sleeper + `
service "eater" {
  command = ["tail", "/dev/zero"]
  enabled = false
  restart {
    delay = "0s"
    jitter = 0
  }
}
`, Script: `
up sleeper
nines start --no-wait eater
n=0; until [ "$n" -ge 3 ]; do sleep 0.2; n=$(dmesg | grep -c 'Out of memory: Killed process') || true; done
nines stop eater
up sleeper
pidof nines-init nines nines-log
`, Then: "nines shutdown --reboot"}).Wait()
	if r.Exit != 0 || r.End != Reboot || !strings.Contains(r.Console, "now: restart") || strings.Contains(r.Console, "internal error") {
		r.Fatal(t, "exit status %d, the machine's end: %s", r.Exit, r.End)
	}
}

// PID 1 has no descriptor left: what needs one is said and tried again, and the
// end comes all the same.
func TestMachineWithoutDescriptors(t *testing.T) {
	t.Parallel()
	r := Start(t, Machine{Init: Direct, Spec: sleeper, Script: `
up sleeper
guest limit 1 nofile 3
kill -9 $(pidof nines)
sleep 3
guest limit 1 nofile 1000
up sleeper
guest limit 1 nofile 3
`, Then: "kill -USR2 1"}).Wait()
	if r.Exit != 0 || r.End != PowerOff || !strings.Contains(r.Console, "too many open files") {
		r.Fatal(t, "exit status %d, the machine's end: %s", r.Exit, r.End)
	}
}
