package vm

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// event is a line of "nines events --json".
type event struct {
	Time    time.Time `json:"time"`
	Kind    string    `json:"kind"`
	Service string    `json:"service"`
}

func events(t *testing.T, r Result, file string) []event {
	t.Helper()
	var all []event
	for line := range strings.Lines(string(r.Files[file])) {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			r.Fatal(t, "%s: %v: %q", file, err, line)
		}
		all = append(all, e)
	}
	return all
}

// TestHours: a service that fails is started after the delays that its spec
// says, is held as a crash loop, and one that was ready for reset_after begins
// from the first delay again. Three hours of it, in virtual time.
func TestHours(t *testing.T) {
	t.Parallel()
	r := Run(t, Machine{VirtualTime: true, Spec: `
service "failing" {
  command = ["false"]
  restart {
    delay     = "1m"
    factor    = 2
    jitter    = 0
    max_delay = "16m"
  }
  crash_loop {
    failures = 6
    within   = "2h"
    then     = "hold"
  }
}
service "lasting" {
  command = ["sh", "-c", "sleep 5400; exit 1"]
  restart {
    delay       = "10m"
    jitter      = 0
    max_delay   = "1h"
    reset_after = "1h"
  }
}
`, Script: `
sleep 11000
nines events --json >/out/events
nines status --json >/out/status.json
`})
	all := events(t, r, "events")
	starts := func(service string) (at []time.Time) {
		for _, e := range all {
			if e.Service == service && e.Kind == "starting" {
				at = append(at, e.Time)
			}
		}
		return at
	}
	check := func(service string, want ...time.Duration) {
		at := starts(service)
		if len(at) < len(want)+1 {
			t.Fatalf("%s: %d starts, want at least %d", service, len(at), len(want)+1)
		}
		for i, gap := range want {
			// A start takes a while in an emulated machine, and never less than the delay.
			if got := at[i+1].Sub(at[i]); got < gap || got > gap+20*time.Second {
				t.Errorf("%s: start %d came %s after the one before, want %s", service, i+2, got, gap)
			}
		}
	}
	check("failing", time.Minute, 2*time.Minute, 4*time.Minute, 8*time.Minute, 16*time.Minute, 16*time.Minute)
	check("lasting", 100*time.Minute) // ran for 90 minutes, and then the first delay: twice
	held := false
	for _, e := range all {
		held = held || e.Service == "failing" && e.Kind == "crash_loop"
	}
	if !held {
		t.Errorf("no crash_loop among %d events", len(all))
	}
	t.Logf("%d starts", len(starts("failing")))
}

// TestPowerCut: what was synced before the power was cut is on the disk, and
// nines starts on it as if nothing had been.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	disk := NewDisk(t, 64, "/var/lib/nines")
	spec := `
service "web" {
  command = ["sleep", "1000"]
}
`
	m := Start(t, Machine{Disks: []Disk{disk}, Spec: spec, Script: `
up web
n=0
while :; do
	n=$((n+1))
	echo $n | dd of=/var/lib/nines/new conv=fsync 2>/dev/null
	mv /var/lib/nines/new /var/lib/nines/count
	sync
	echo "COMMITTED $n."
done
`})
	m.Expect("COMMITTED 20.")
	m.Cut()
	first := m.Wait()
	if first.End != Cut {
		first.Fatal(t, "end %s", first.End)
	}
	told := 0
	for line := range strings.Lines(first.Output) {
		if _, err := fmt.Sscanf(line, "COMMITTED %d.", &told); err != nil {
			t.Logf("cut off: %q", line)
		}
	}
	second := Run(t, Machine{Disks: []Disk{disk}, Spec: spec, Script: `
up web
cp /var/lib/nines/count /out/count
nines status --json >/out/status.json
`})
	kept, err := strconv.Atoi(strings.TrimSpace(string(second.Files["count"])))
	if err != nil || kept < told {
		second.Fatal(t, "%d was told, the disk has %d (%v)", told, kept, err)
	}
	st := status(t, second, "status.json")
	if st.Supervisor.Cgroups != "full" || len(st.Supervisor.Warnings) > 0 {
		t.Errorf("%+v", st.Supervisor)
	}
}
