package vm

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"nines/ipc"
)

// instance is one of a status, by its id.
func instance(t *testing.T, st ipc.Status, id string) ipc.Instance {
	t.Helper()
	for _, s := range st.Services {
		for _, i := range s.Instances {
			if i.ID == id {
				return i
			}
		}
	}
	t.Fatalf("there is no instance %s", id)
	return ipc.Instance{}
}

// TestLimits: every limit is set as the spec says before the first instruction
// of an instance. One that passes memory.max is named so and started again, also
// where its supervisor had died before, and its siblings do not notice; another
// SIGKILL is not. cpu.max is kept, memory.high and pids.max hold up who passes
// them alone; who stands still at memory.high is found by its stall, and the
// machine's pressure by a node check.
func TestLimits(t *testing.T) {
	t.Parallel()
	r := Run(t, Machine{CPUs: 2, Memory: 1024, Timeout: 5 * time.Minute, Spec: `
service "all" {
  command = ["sh", "-c", "g=/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup); cd $g; tail -n +1 memory.low memory.high memory.max memory.swap.max memory.oom.group cpu.max pids.max ../cpu.weight ../memory.low >/out/all; [ ! -e ../io.weight ] || cat ../io.weight >/out/io; exec sleep 1000"]
  memory {
    low  = "8MiB"
    high = "25%"
    max  = "512MiB"
    swap = "0"
  }
  cpu {
    max    = "150%"
    weight = 300
  }
  pids {
    max      = 100
    required = true
  }
  io {
    weight = 200
  }
}
service "leak" {
  command = ["sh", "-c", "until [ -e /tmp/go ]; do sleep 0.1; done; rm /tmp/go; sleep 1000 & exec misbehave leak 1048576 1073741824"]
  memory {
    max = "32MiB"
  }
  restart {
    delay = "0s"
  }
}
service "victim" {
  command = ["sleep", "1000"]
  memory {
    max = "32MiB"
  }
  restart {
    delay = "0s"
  }
}
service "high" {
  command = ["misbehave", "leak", "1048576", "67108864"]
  enabled = false
  memory {
    high = "16MiB"
  }
  check "moves" {
    stall {
      for = "2s"
    }
    interval   = "1s"
    failures   = 1
    on_failure = "alert"
  }
}
check "memory" {
  pressure {
    of    = "memory"
    above = "10%"
  }
  interval = "1s"
}
service "spin" {
  command = ["misbehave", "spin"]
  enabled = false
  cpu {
    max = "20%"
  }
}
service "bomb" {
  command = ["misbehave", "forkbomb", "1000", "setsid"]
  enabled = false
  pids {
    max = 40
  }
}
service "sibling" {
  command = ["sh", "-c", "while sleep 0.1; do cut -d' ' -f1 /proc/uptime; done"]
}
`, Script: `
up all leak victim sibling
nines status --json >/out/before.json
again() { nines status --json | grep -q '"id":"'$1'/0".*"state":"ready".*"restarts":'$2; }
touch /tmp/go
await 60 again leak 1
nines status --json >/out/oom.json
nines events --json >/out/events
kill -9 $(nines status --json | sed 's/.*"id":"victim\/0"[^}]*"pid":\([0-9]*\).*/\1/')
await 60 again victim 1
# The supervisor dies, the adopted instance is killed, and its supervisor names it.
supervisor() { nines status --json | sed 's/.*"supervisor":{[^}]*"pid":\([0-9]*\).*/\1/'; }
back() { p=$(supervisor) && [ -n "$p" ] && [ "$p" != "$old" ]; }
old=$(supervisor)
kill -9 $old
await 60 back
touch /tmp/go
await 60 again leak 2
nines status --json >/out/after.json
nines start --no-wait high
held() { [ "$(sed -n 's/^high //p' /sys/fs/cgroup/nines/high/0.*/memory.events)" -gt 0 ]; }
await 60 held
# It waits for memory and does nothing else, as the kernel tells of it and of the machine (PSI).
failed() { nines events --json | grep '"kind":"check_failed"' | grep -q "$1"; }
await 60 failed 'pressure of memory is'
await 60 failed 'high/0.*moves'
nines events --json >/out/stalled
nines stop high
nines start spin
spun() { [ "$(sed -n 's/^nr_periods //p' /sys/fs/cgroup/nines/spin/0.*/cpu.stat)" -ge 30 ]; }
await 60 spun
nines events --json >/out/events2
cat /sys/fs/cgroup/nines/spin/0.*/cpu.stat >/out/cpu.stat
nines stop spin
nines start --no-wait bomb
refused() { [ "$(sed -n 's/^max //p' /sys/fs/cgroup/nines/bomb/0.*/pids.events)" -gt 20 ]; }
await 60 refused
told() { nines events --json | grep -q '"kind":"fork_refused"'; }
await 60 told
[ "$(cat /sys/fs/cgroup/nines/bomb/0.*/pids.current)" -le 40 ] || fail "pids.max is not kept"
cut -d' ' -f1 /proc/uptime >/tmp/a; nines status >/dev/null; cut -d' ' -f1 /proc/uptime >/tmp/b
echo "status took from $(cat /tmp/a) to $(cat /tmp/b) under the bomb"
nines logs sibling -n 30 >/out/ticks
nines stop bomb
[ "$(find /sys/fs/cgroup/nines/bomb /sys/fs/cgroup/nines/spin /sys/fs/cgroup/nines/high -mindepth 1 -type d | wc -l)" = 0 ] || fail "a cgroup is left"
`})
	before, oom, after := status(t, r, "before.json"), status(t, r, "oom.json"), status(t, r, "after.json")
	if before.Supervisor.Cgroups != "full" || len(after.Supervisor.Warnings) > 0 && !strings.Contains(after.Supervisor.Warnings[0], "io.weight") {
		t.Errorf("%+v", after.Supervisor)
	}
	for _, text := range []string{"==> memory.low <==\n8388608\n", "==> memory.max <==\n536870912\n", "==> memory.swap.max <==\n0\n", "==> memory.oom.group <==\n1\n",
		"==> cpu.max <==\n150000 100000\n", "==> pids.max <==\n100\n", "==> ../cpu.weight <==\n300\n", "==> ../memory.low <==\n8388608\n"} {
		if !strings.Contains(string(r.Files["all"]), text) {
			t.Errorf("no %q in\n%s", text, r.Files["all"])
		}
	}
	if _, high, _ := strings.Cut(string(r.Files["all"]), "==> memory.high <==\n"); len(high) < 9 { // a quarter of 1 GiB, less what the kernel keeps
		t.Errorf("memory.high: %s", r.Files["all"])
	}
	if io := string(r.Files["io"]); io != "" && !strings.Contains(io, "default 200") {
		t.Errorf("io.weight: %q", io)
	}
	if e := instance(t, oom, "leak/0").LastExit; e == nil || e.Reason != "oom" || e.Signal != "SIGKILL" {
		t.Errorf("leak: %+v", e)
	}
	if e := instance(t, after, "leak/0").LastExit; e == nil || e.Reason != "oom" {
		t.Errorf("leak, adopted: %+v", e)
	}
	if e := instance(t, after, "victim/0").LastExit; e == nil || e.Reason != "signaled" {
		t.Errorf("victim: %+v", e)
	}
	if !strings.Contains(string(r.Files["events"]), `"kind":"oom_killed"`) {
		t.Errorf("no event oom_killed:\n%s", r.Files["events"])
	}
	if !strings.Contains(string(r.Files["events2"]), `throttled and reclaimed at memory.high (16MiB)`) {
		t.Errorf("no event memory_high:\n%s", r.Files["events2"])
	}
	for _, want := range []string{`no progress for `, `all of it waits for memory`, `(some, avg10)`} {
		if !strings.Contains(string(r.Files["stalled"]), want) {
			t.Errorf("no %q in the events:\n%s", want, r.Files["stalled"])
		}
	}
	if pids(before, "sibling")["sibling/0"] != pids(after, "sibling")["sibling/0"] {
		t.Errorf("the sibling: %v became %v", pids(before, "sibling"), pids(after, "sibling"))
	}
	if i := instance(t, before, "all/0"); i.MemoryBytes == 0 || i.MemoryBytes > 512<<20 {
		t.Errorf("all: %+v", i)
	}
	cpu := map[string]float64{}
	for line := range strings.Lines(string(r.Files["cpu.stat"])) {
		if key, v, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			cpu[key], _ = strconv.ParseFloat(v, 64)
		}
	}
	// A fifth of one processor in each period of 100 ms, which the ticks of an
	// emulated one exceed; without the limit it would be the whole.
	if used, most := cpu["usage_usec"], (cpu["nr_periods"]+2)*20_000*2; used > most || cpu["nr_throttled"] < 10 {
		t.Errorf("cpu.max is not kept: %s", r.Files["cpu.stat"])
	}
	if n := strings.Count(string(r.Files["ticks"]), "\n"); n < 30 {
		t.Errorf("the sibling fell silent:\n%s", r.Files["ticks"])
	}
	t.Logf("%.1fs\n%s\n%s", r.Took.Seconds(), r.Output, r.Files["cpu.stat"])
}
