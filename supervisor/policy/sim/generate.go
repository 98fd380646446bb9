package sim

import (
	"time"

	"nines/spec"
)

// generateSpec makes a valid specification: names are unique, references
// resolve, there is no cycle, every default is filled in.
func generateSpec(c *chance, most int) *spec.Spec {
	// Small specs are the most of it: they reach more states in as many events.
	n := 1 + c.below(min(most, pick(c, 2, 3, 5, 8, 30)))
	sp := &spec.Spec{Supervisor: spec.Supervisor{
		ShutdownTimeout: pick(c, 100*time.Millisecond, time.Second, 10*time.Second, time.Minute),
	}}
	for i := range n {
		sp.Services = append(sp.Services, generateService(c, serviceName(i)))
	}
	// Edges go from a later place of a permutation to an earlier one, so that
	// there is no cycle and the order of definition says nothing.
	perm := make([]int, n)
	for i := range perm {
		j := c.below(i + 1)
		perm[i], perm[j] = perm[j], i
	}
	dense := pick(c, 0, 100, 300, 700)
	for i := range perm {
		svc := sp.Services[perm[i]]
		for j := max(0, i-4); j < i; j++ {
			name := sp.Services[perm[j]].Name
			if c.of(dense) {
				svc.Needs = append(svc.Needs, name)
			}
			if c.of(dense / 3) {
				svc.After = append(svc.After, name)
			}
		}
	}
	// In the same order: it is one in which the members of a group can start.
	for i := 0; i < n; {
		size := min(pick(c, 1, 2, 3, 5), n-i)
		g := spec.Group{Name: "g" + serviceName(i), Strategy: pick(c, spec.OneForAll, spec.RestForOne, spec.OneForOne)}
		for _, at := range perm[i : i+size] {
			g.Members = append(g.Members, sp.Services[at].Name)
		}
		if i += size; c.of(300) {
			sp.Groups = append(sp.Groups, g)
		}
	}
	return sp
}

func generateService(c *chance, name string) *spec.Service {
	svc := &spec.Service{
		Name: name, Type: spec.TypeService, Mode: spec.ActiveActive, Enabled: !c.of(60),
		Instances:    pick(c, 1, 1, 1, 2, 3, 5),
		Essential:    c.of(15),
		StartTimeout: pick(c, 100*time.Millisecond, time.Second, 30*time.Second),
		Stop: spec.Stop{
			Signal:  pick(c, "SIGTERM", "SIGTERM", "SIGINT", "SIGQUIT"),
			Timeout: pick(c, 10*time.Millisecond, time.Second, 10*time.Second),
		},
		Restart: spec.Restart{
			Policy:       pick(c, spec.RestartAlways, spec.RestartAlways, spec.RestartOnFailure, spec.RestartNever),
			Delay:        pick(c, 0, 10*time.Millisecond, 100*time.Millisecond, time.Second),
			MaxDelay:     pick(c, time.Second, 5*time.Second, 30*time.Second),
			Factor:       pick(c, 1, 1.5, 2, 10),
			Jitter:       pick(c, 0, 0.1, 0.1, 0.5, 1),
			ResetAfter:   pick(c, time.Second, 10*time.Second, time.Minute),
			SuccessCodes: []int{0},
			FatalCodes:   []int{78, 125},
		},
		CrashLoop: spec.CrashLoop{
			Failures: pick(c, 1, 2, 5, 5, 100),
			Within:   pick(c, time.Second, 10*time.Second, time.Minute),
			Then:     pick(c, spec.ThenRollback, spec.ThenRollback, spec.ThenHold, spec.ThenStop, spec.ThenShutdown),
		},
		// What an update does beside rolling, policy's TestUpdates looks at.
		Update:  spec.Update{Order: "stop-first", MaxParallel: 1},
		Process: spec.Process{Command: `["/bin/service"]`},
	}
	if svc.CrashLoop.Then == spec.ThenShutdown && !c.of(100) {
		svc.CrashLoop.Then = spec.ThenHold // or few histories would last
	}
	if c.of(150) {
		svc.Type, svc.Restart.Policy = spec.TypeTask, pick(c, spec.RestartOnFailure, spec.RestartOnFailure, spec.RestartNever)
		svc.Instances = pick(c, 1, 1, 3)
	}
	if c.of(100) {
		svc.Instances = 0
	}
	if c.of(200) {
		svc.Stop.Command = `["/bin/stop"]`
	}
	switch {
	case svc.Type == spec.TypeTask:
	case c.of(250):
		svc.Ready = &spec.Ready{Delay: pick(c, time.Millisecond, 50*time.Millisecond, 500*time.Millisecond)}
	case c.of(400):
		svc.Ready = &spec.Ready{Notify: "systemd"}
	case c.of(400):
		k := generateCheck(c, "ready")
		svc.Ready = &spec.Ready{Check: &k}
	}
	if c.of(500) {
		for _, name := range []string{"alive", "well", "fast"}[:1+c.below(3)] {
			svc.Checks = append(svc.Checks, generateCheck(c, name))
		}
	}
	switch {
	case c.of(200):
		svc.Reload = &spec.Reload{Signal: "SIGHUP"}
	case c.of(200):
		svc.Reload = &spec.Reload{Command: `["/bin/reload"]`}
	}
	if svc.Ready != nil {
		svc.StartTimeout = max(svc.StartTimeout, time.Second) // or no delay would ever be over
	}
	if svc.Instances > 1 {
		svc.AvailableAtLeast = svc.Instances - 1
	}
	switch {
	case svc.Type == spec.TypeTask:
	case c.of(200):
		svc.Recycle = &spec.Recycle{MaxAge: pick(c, 20*time.Second, 20*time.Second, time.Minute, time.Hour), Jitter: pick(c, 0, 0.1, 0.5)}
	case c.of(150):
		svc.Recycle = &spec.Recycle{Schedule: pick(c, "* * * * *", "*/5 * * * *", "30 4 * * *")}
	}
	if c.of(200) {
		svc.AvailableAtLeast, svc.AvailableSet = c.below(svc.Instances+1), true
	}
	if c.of(500) {
		svc.Isolate = generateIsolate(c)
	}
	return svc
}

func generateIsolate(c *chance) *spec.Isolate {
	return &spec.Isolate{
		Keep: pick(c, 1, 1, 2, 3), TTL: pick(c, time.Second, 10*time.Second, time.Minute, time.Hour),
		MemoryMaxTotal: spec.Size{Bytes: pick(c, uint64(50), 100, 1<<40)},
	}
}

// serviceName returns a, b, … z, a1, b1, …: short, so that traces are too.
func serviceName(i int) string {
	name := string(rune('a' + i%26))
	if i >= 26 {
		name += string(rune('0' + i/26))
	}
	return name
}
