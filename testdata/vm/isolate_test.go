package vm

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nines/ipc"
)

// TestIsolation: with the memory controller. What is frozen keeps its memory, on its
// own account: its replacement takes as much beside it, of the same memory.max. A
// replica that is too large is replaced while nobody who asks the service notices. A
// daemon that forks twice is ended with its cgroup, and NINES_VM_INCARNATIONS (100)
// of a service that ends at once leave none behind.
func TestIsolation(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := build(dir, "-tags=ninesfault", "-ldflags=-s -w", "nines/cmd/nines"); err != nil {
		t.Fatal(err)
	}
	judged, err := os.ReadFile(filepath.Join(dir, "nines")) // one that can be told what a check would say
	if err != nil {
		t.Fatal(err)
	}
	r := Run(t, Machine{
		CPUs: 2, Memory: 1024, Timeout: 5 * time.Minute, Env: []string{"NINES_FAULT_JUDGE=/tmp/judge"},
		Files: map[string]string{"/usr/bin/nines-judged": string(judged)}, Args: []string{"--supervisor", "/usr/bin/nines-judged"},
		Spec: `
service "web" {
  command = ["misbehave", "leak", "50000000", "50000000"]
  memory {
    max = "80MiB"
  }
  restart {
    delay = "0s"
  }
  isolate {
    keep = 1
  }
}
service "door" {
  command   = ["sh", "-c", "[ -e /tmp/bloated ] || { >/tmp/bloated; misbehave leak 50000000 50000000 & }; exec misbehave listen drain"]
  instances = 2
  enabled   = false
  listen "s" {
    address = "unix:///tmp/door"
  }
  memory {
    restart_above = "32MiB"
    for           = "2s"
  }
  restart {
    delay = "0s"
  }
}
service "daemon" {
  command = ["sh", "-c", "setsid sh -c 'setsid sleep 4242 & sleep 4242 &'; exec sleep 1000"]
}
service "quick" {
  command = ["true"]
  enabled = false
  restart {
    delay = "0s"
  }
  crash_loop {
    failures = 10000
  }
}
`, Script: fmt.Sprintf(`
up web daemon
supervisor() { nines status --json | sed 's/.*"supervisor":{[^}]*"pid":\([0-9]*\).*/\1/'; }
back() { p=$(supervisor) && [ -n "$p" ] && [ "$p" != "$old" ]; }
mkfifo /tmp/judge
old=$(supervisor)
kill -9 $old
await 60 back
g=/sys/fs/cgroup/nines/web
holds() { [ "$(cat $g/$1/memory.current)" -gt 45000000 ]; }
await 60 holds 0.1
echo "web/0 isolate it hangs" >/tmp/judge
await 60 holds 0.2
nines quarantine list --json >/out/list.json
nines status --json >/out/status.json
echo "frozen $(cat $g/0.1/cgroup.freeze), $(cat $g/0.1/memory.current); beside it $(cat $g/0.2/memory.current) of $(cat $g/0.2/memory.max)"
holds 0.1 || fail "the evidence has lost its memory"
nines quarantine kill web/0.1
[ ! -e $g/0.1/memory.current ] || [ "$(cat $g/0.1/memory.current)" -lt 10000000 ] || fail "memory is left"

nines start door
misbehave ask unix /tmp/door until /tmp/enough >/out/asked &
replaced() { nines events --json | grep '"kind":"ready"' | grep -c '"door/' | grep -q 3; }
await 90 replaced
>/tmp/enough
wait $! || fail "$(cat /out/asked)"

lives() { cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' ' ' | grep -q 'sleep [4]242'; } # not grep itself
lives || fail "the daemon has not forked"
nines stop daemon
if lives; then fail "it outlives its stop"; fi

nines start --no-wait quick
many() { [ "$(nines status quick --json | sed 's/.*"restarts":\([0-9]*\).*/\1/')" -ge %d ]; }
await 120 many
nines stop quick
none() { [ "$(find /sys/fs/cgroup/nines/quick /sys/fs/cgroup/nines/daemon -mindepth 1 -type d | wc -l)" = 0 ]; }
await 30 none
nines events --json >/out/events
`, envInt(t, "NINES_VM_INCARNATIONS", 100))})
	var kept []ipc.Quarantined
	if err := json.Unmarshal(r.Files["list.json"], &kept); err != nil || len(kept) != 1 || kept[0].ID != "web/0.1" || kept[0].MemoryBytes < 45_000_000 {
		t.Errorf("quarantine: %v, %s", err, r.Files["list.json"])
	}
	if i := instance(t, status(t, r, "status.json"), "web/0"); i.MemoryBytes > 80<<20 || i.State != "ready" {
		t.Errorf("the replacement: %+v", i)
	}
	if asked := string(r.Files["asked"]); !strings.Contains(asked, " lost 0 ") {
		t.Errorf("asking while a replica was replaced: %q", asked)
	}
	events := string(r.Files["events"])
	if !strings.Contains(events, "above 32MiB (restart_above)") || strings.Contains(events, `"oom_killed"`) {
		t.Errorf("events:\n%s", events)
	}
	t.Logf("%.1fs\n%s%s", r.Took.Seconds(), r.Output, r.Files["asked"])
}
