package vm

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"nines/ipc"
)

// status reads a file that "nines status --json" wrote.
func status(t *testing.T, r Result, file string) ipc.Status {
	t.Helper()
	var st ipc.Status
	if err := json.Unmarshal(r.Files[file], &st); err != nil {
		r.Fatal(t, "%s: %v: %q", file, err, r.Files[file])
	}
	return st
}

// pids are those of a service's instances, by their ids.
func pids(st ipc.Status, service string) map[string]int {
	all := map[string]int{}
	for _, s := range st.Services {
		for _, i := range s.Instances {
			if s.Name == service {
				all[i.ID] = i.PID
			}
		}
	}
	return all
}

// envInt is a number from the environment.
func envInt(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("cannot use %s: %v", name, err)
	}
	return n
}

// TestServices: PID 1 of a machine with every controller, and its orderly end.
func TestServices(t *testing.T) {
	t.Parallel()
	m := Start(t, Machine{Spec: `
service "web" {
  command   = ["sleep", "1000"]
  instances = 3
}
service "later" {
  command = ["sh", "-c", "trap 'echo ended; exit 0' TERM; while :; do sleep 1; done"]
  needs   = ["web"]
}
service "stubborn" {
  command = ["misbehave", "ignore-term"]
  stop {
    timeout = "500ms"
  }
}
`, Script: `
up web later stubborn
nines status --json >/out/status.json
`, Then: "nines shutdown"})
	r := m.Wait()
	st := status(t, r, "status.json")
	if st.Supervisor.KeeperPID != 1 || st.Supervisor.Cgroups != "full" || len(st.Supervisor.Warnings) > 0 {
		t.Errorf("status: %+v", st.Supervisor)
	}
	if r.Exit != 0 || !orderly(r) {
		r.Fatal(t, "exit %d, end %s, want an orderly one", r.Exit, r.End)
	}
}

// orderly says whether nines ended the machine.
func orderly(r Result) bool {
	return r.End == PowerOff && strings.Contains(r.Console, "nines-init: now: power off")
}

// TestOrphans: 10,000 children of PID 1 end at one instant. It reaps them all
// and goes on answering.
func TestOrphans(t *testing.T) {
	t.Parallel()
	// The guest has to measure the speed of its TSC, and on a loaded host has been wrong by
	// ten times, as its deadlines were then. The HPET says its own; it is slower to read.
	r := Run(t, Machine{Memory: 3072, Cmdline: "tsc=unstable clocksource=hpet", Spec: `
service "sleep" {
  command = ["sleep", "1000"]
}
`, Script: `
up sleep
nines status --json >/out/before.json
g=/sys/fs/cgroup/orphans
mkdir $g
sh -c "echo \$\$ >$g/cgroup.procs; exec guest orphans 10000"
children() { cat /proc/1/task/*/children | wc -w; }
n=$(children)
[ "$n" -ge 10000 ] || fail "only $n children"
# The time, what PID 1 has used of the processor, and what all has, in hundredths of a second.
spent() { echo "$(cut -d' ' -f1 /proc/uptime)s, PID 1 $(cut -d' ' -f14,15 /proc/1/stat), all $(head -n1 /proc/stat)"; }
echo "$n children, $(spent)"
echo 1 >$g/cgroup.kill
reaped() { [ "$(children)" -lt 100 ]; }
await 60 reaped
echo "$(children) children, $(spent)"
zombies=$(cat /proc/[0-9]*/stat 2>/dev/null | grep -c ') Z ' || :)
[ "$zombies" = 0 ] || fail "$zombies zombies"
rmdir $g
nines status --json >/out/after.json
grep VmRSS /proc/1/status
`})
	before, after := status(t, r, "before.json"), status(t, r, "after.json")
	if pids(before, "sleep")["sleep/0"] != pids(after, "sleep")["sleep/0"] || after.Supervisor.Restarts != 0 {
		t.Errorf("before %+v, after %+v", before, after)
	}
	t.Log(r.Output)
}

// TestSupervisorKilled: NINES_VM_KILLS times (4), under load, by each signal, and
// stopped until the watchdog notices. No service notices, nor does who connects to
// one, and no line is lost.
func TestSupervisorKilled(t *testing.T) {
	t.Parallel()
	kills := envInt(t, "NINES_VM_KILLS", 4)
	r := Run(t, Machine{CPUs: 2, Env: []string{"NINES_WATCHDOG=3s"}, Timeout: 4*time.Minute + time.Duration(kills)*10*time.Second, Spec: `
service "steady" {
  command   = ["sleep", "1000"]
  instances = 10
}
service "crash" {
  command   = ["sh", "-c", "sleep 0.3; exit 3"]
  instances = 3
  restart {
    delay     = "100ms"
    max_delay = "500ms"
  }
  crash_loop {
    failures = 10000
  }
}
service "talk" {
  command = ["sh", "-c", "i=0; while sleep 0.02; do i=$((i+1)); echo $i; done"]
}
service "door" {
  command = ["misbehave", "listen"]
  listen "s" {
    address = "unix:///tmp/door"
  }
}
`, Script: fmt.Sprintf(`
up steady talk door
nines status --json >/out/before.json
misbehave ask unix /tmp/door until /tmp/enough >/out/asked &
supervisor() { nines status --json | sed 's/.*"supervisor":{[^}]*"pid":\([0-9]*\).*/\1/'; }
back() { p=$(supervisor) && [ -n "$p" ] && [ "$p" != "$old" ]; }
n=0
while [ $n -lt %d ]; do
	for signal in KILL SEGV ABRT STOP; do
		sleep 0.$((RANDOM %% 10))
		old=$(supervisor)
		kill -$signal $old
		await 60 back
		up steady talk door
		n=$((n+1))
		echo "$signal $(cut -d' ' -f1 /proc/uptime)"
	done
done
>/tmp/enough
wait $! || fail "$(cat /out/asked)"
nines status --json >/out/after.json
nines logs -n 100000 talk >/out/talk
zombies=$(cat /proc/[0-9]*/stat 2>/dev/null | grep -c ') Z ' || :)
[ "$zombies" = 0 ] || fail "$zombies zombies"
`, kills)})
	before, after := status(t, r, "before.json"), status(t, r, "after.json")
	for _, service := range []string{"steady", "talk", "door"} {
		was, is := pids(before, service), pids(after, service)
		if len(was) == 0 || fmt.Sprint(was) != fmt.Sprint(is) {
			t.Errorf("%s: pids %v became %v", service, was, is)
		}
	}
	if want := (kills + 3) / 4 * 4; after.Supervisor.Restarts != want {
		t.Errorf("supervisor restarts: %d, want %d", after.Supervisor.Restarts, want)
	}
	said := 0
	for line := range strings.Lines(string(r.Files["talk"])) {
		text := line[strings.LastIndexByte(strings.TrimSpace(line), ' ')+1:]
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if said++; err != nil || n != said {
			t.Fatalf("line %d of talk is %q", said, line)
		}
	}
	if said == 0 {
		t.Error("talk has said nothing")
	}
	if asked := string(r.Files["asked"]); !strings.Contains(asked, " lost 0 pids 1") {
		t.Errorf("asking at a listener: %q", asked)
	}
	t.Logf("%s\n%s%d lines", r.Output, r.Files["asked"], said)
}

// TestForkBomb: stop ends all of it, sessions of its own or not. Meanwhile, with
// pids.max and without it, a sibling answers every question; how soon is printed.
func TestForkBomb(t *testing.T) {
	t.Parallel()
	// Each process is a Go program, which takes its time in an emulated machine.
	r := Run(t, Machine{CPUs: 2, Memory: 1024, Spec: `
service "bomb" {
  command = ["misbehave", "forkbomb", "120", "setsid"]
  enabled = false
  stop {
    timeout = "500ms"
  }
}
service "capped" {
  command = ["misbehave", "forkbomb", "1000", "setsid"]
  enabled = false
  pids {
    max = 40
  }
}
service "sibling" {
  command = ["misbehave", "listen"]
  listen "ask" {
    address = "unix:///run/sibling.sock"
  }
}
`, Script: `
up sibling
misbehave ask unix /run/sibling.sock until /tmp/enough >/tmp/asked 2>&1 &
client=$!
nines start --no-wait capped
refused() { [ "$(sed -n 's/^max //p' /sys/fs/cgroup/nines/capped/0.*/pids.events)" -gt 20 ]; }
await 60 refused
misbehave ask unix /run/sibling.sock 20 >/dev/null || fail "no answer beside a bomb with pids.max"
nines stop capped
nines start --no-wait bomb
n() { cat /sys/fs/cgroup/nines/bomb/0.*/cgroup.procs 2>/dev/null | wc -l; }
many() { [ "$(n)" -ge 80 ]; }
await 60 many
echo "$(n) processes"
misbehave ask unix /run/sibling.sock 20 >/dev/null || fail "no answer beside a bomb"
nines stop bomb
touch /tmp/enough
wait $client || fail "the client gave up: $(cat /tmp/asked)"
cat /tmp/asked
grep -q "^asked [0-9]* lost 0 pids 1$" /tmp/asked || fail "questions were lost"
[ "$(pidof misbehave | wc -w)" = 1 ] || fail "left beside the sibling: $(pidof misbehave)"
[ -z "$(find /sys/fs/cgroup/nines/bomb -mindepth 1 -type d)" ] || fail "a cgroup is left"
up sibling
`})
	t.Log(r.Output)
}

// TestManyAdopted: the supervisor dies over so many instances as
// NINES_VM_INSTANCES says, and the next one takes them all as they are.
func TestManyAdopted(t *testing.T) {
	t.Parallel()
	n := envInt(t, "NINES_VM_INSTANCES", 300)
	m := Machine{CPUs: 2, Memory: 1024 + n/5, Spec: fmt.Sprintf(`
service "many" {
  command   = ["sleep", "100000"]
  instances = %d
  # It counts from the request: the last ones wait long for their turn.
  start {
    timeout = "1h"
  }
}
`, n), Script: fmt.Sprintf(`
t() { cut -d' ' -f1 /proc/uptime; }
# A status of so many is megabytes of JSON: what there is is counted first, by the
# kernel's number of tasks, and a question that was answered with no is not asked
# again at once.
started() { n=$(cut -d/ -f2 /proc/loadavg) && [ "${n%%%% *}" -gt %d ]; }
seldom() { until "$@" >/tmp/seldom 2>&1; do sleep 2; done; }
echo "begun $(t)"
seldom started
echo "started $(t)"
seldom nines ready many
echo "ready $(t)"
nines status --json >/out/before.json
old=$(sed 's/.*"supervisor":{[^}]*"pid":\([0-9]*\).*/\1/' /out/before.json)
kill -9 $old
echo "killed $(t)"
back() { p=$(pidof nines) && [ "$p" != "$old" ]; }
seldom back
seldom nines ready many
echo "adopted $(t)"
nines status --json >/out/after.json
grep VmRSS /proc/1/status
`, n)}
	m.Timeout = 4 * time.Minute
	if n > 5000 {
		m.Timeout = 30 * time.Minute
		m.Cmdline = "sysctl.kernel.pid_max=4194304"
	}
	r := Run(t, m)
	was, is := pids(status(t, r, "before.json"), "many"), pids(status(t, r, "after.json"), "many")
	if len(was) != n || len(is) != n {
		t.Fatalf("%d instances, then %d", len(was), len(is))
	}
	for id, pid := range was {
		if pid == 0 || is[id] != pid {
			t.Errorf("%s: pid %d became %d", id, pid, is[id])
		}
	}
	t.Log(r.Output)
}
