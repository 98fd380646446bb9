package vm

import (
	"strings"
	"testing"
)

// TestMemory: with the memory controller a leak is found by growth long before
// max, and what is too large for too long is replaced, neither by the kernel's
// memory killer. A heap that is collected is left alone, and so is a service
// whose page cache grows: it holds nothing that the kernel could not take.
func TestMemory(t *testing.T) {
	t.Parallel()
	r := Run(t, Machine{CPUs: 2, Memory: 1024, Disks: []Disk{NewDisk(t, 512, "/data")}, Spec: `
service "leak" {
  command = ["misbehave", "leak", "524288", "1073741824", "250ms"]
  memory {
    max    = "256MiB"
    growth = "1MiB/1s"
    window = "16s"
  }
}
service "bloat" {
  command = ["misbehave", "leak", "50000000", "50000000"]
  memory {
    max           = "128MiB"
    restart_above = "32MiB"
    for           = "2s"
  }
  restart {
    delay = "1h"
    max_delay = "1h"
  }
}
service "heap" {
  command = ["misbehave", "sawtooth", "10000000", "60000000", "3s"]
  memory {
    max           = "256MiB"
    restart_above = "128MiB"
    for           = "2s"
    growth        = "1MiB/1s"
    window        = "16s"
  }
}
service "cache" {
  command = ["sh", "-c", "while :; do dd if=/dev/zero of=/data/file bs=1M count=2 oflag=append conv=notrunc 2>/dev/null; sleep 0.5; done"]
  memory {
    restart_above = "32MiB"
    for           = "2s"
    growth        = "1MiB/1s"
    window        = "16s"
  }
}
`, Script: `
up leak heap cache
await 60 sh -c 'nines events --json | grep -q "\"kind\":\"memory_high\".*bloat/0"'
await 60 sh -c 'nines events --json | grep -q "\"kind\":\"restarting\".*leak/0"'
await 60 sh -c 'nines events --json | grep "\"kind\":\"starting\"" | grep -c leak/0 | grep -q 2'
# The file has grown far beyond what its service may hold.
await 60 sh -c '[ $(wc -c </data/file) -gt 67108864 ]'
g=$(find /sys/fs/cgroup -type d -path "*/cache/0.1")
cat $g/memory.current >/out/cache
nines status --json >/out/status.json
nines events --json >/out/events
`})
	events := string(r.Files["events"])
	for _, want := range []string{`"kind":"leak_suspected"`, ": a leak, at 256MiB (max) in ", `"kind":"memory_high"`, "above 32MiB (restart_above)"} {
		if !strings.Contains(events, want) {
			t.Errorf("no %s in the events:\n%s", want, events)
		}
	}
	for line := range strings.Lines(events) {
		judged := strings.Contains(line, `"leak_suspected"`) || strings.Contains(line, `"memory_high"`) || strings.Contains(line, `"restarting"`)
		if strings.Contains(line, `"oom_killed"`) || judged && (strings.Contains(line, `"heap/0"`) || strings.Contains(line, `"cache/0"`)) {
			t.Errorf("an event that must not be: %s", line)
		}
	}
	st := status(t, r, "status.json")
	if e := instance(t, st, "leak/0").LastExit; e == nil || e.Reason != "memory" {
		t.Errorf("the leak's last exit is %+v", e)
	}
	if held := instance(t, st, "cache/0").MemoryBytes; held == 0 || held > 32<<20 {
		t.Errorf("the cache's service is said to hold %d, its cgroup is charged with %s", held, r.Files["cache"])
	}
}
