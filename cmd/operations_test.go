package cmd_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"nines/ipc"
)

// TestRandomOperations does random things to a running nines (apply, also of what
// is wrong, scale, stop, start, killing instances and the supervisor, also in the
// middle of these) and compares what runs with a model of what should: which
// services, how many instances of each, with which command; and that nothing was
// touched that did not have to be. NINES_OPERATIONS (150) says how many,
// NINES_OPERATIONS_SEED repeats a run.
func TestRandomOperations(t *testing.T) {
	n := envInt(t, "NINES_OPERATIONS", 150)
	seed := uint64(envInt(t, "NINES_OPERATIONS_SEED", int(time.Now().UnixNano()&0x7fffffff)))
	t.Logf("NINES_OPERATIONS_SEED=%d", seed)
	bin := binaries(t)
	dir, err := os.MkdirTemp("", "nines")
	if err != nil {
		t.Fatal(err)
	}
	r := &running{dir: dir, bin: bin}
	t.Cleanup(func() { r.cleanUp(t) })
	o := &operations{t: t, r: r, rng: rand.New(rand.NewPCG(seed, 1))}
	m := model{}
	for i := range 3 {
		m[fmt.Sprintf("s%d", i)] = wants{n: 1 + i%2, enabled: true}
	}
	if err := os.WriteFile(dir+"/nines.hcl", []byte(m.spec()), 0o644); err != nil {
		t.Fatal(err)
	}
	r.cmd = exec.Command(bin+"/nines-init", "-f", dir+"/nines.hcl")
	r.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir,
		"NINES_RUNTIME_DIR=" + dir + "/run", "NINES_STATE_DIR=" + dir + "/state", "NINES_LOG_DIR=" + dir + "/log"}
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.out
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.done = make(chan error, 1)
	go func() { r.done <- r.cmd.Wait() }()
	m, pids := o.settle("the start", []model{m})
	for i := range n {
		m, pids = o.one(i, m, pids)
	}
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-r.done:
	case <-time.After(patience):
		t.Fatalf("nines-init does not end\n%s", r.out.String())
	}
	if code := r.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("nines-init exited with %d\n%s", code, r.out.String())
	}
	r.cmd = nil
}

// wants is what the model knows of a service.
type wants struct {
	variant int // which command it runs
	n       int
	enabled bool
	stopped bool // by a person
	started bool // by a person, although disabled
}

func (w wants) runs() bool { return !w.stopped && (w.enabled || w.started) }

// model is every service that there should be.
type model map[string]wants

func (m model) spec() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(m)) {
		w := m[name]
		fmt.Fprintf(&b, `
service %q {
  command   = ["sleep", "10000%d"]
  instances = %d
  update {
    min_healthy = "0s"
  }
  enabled   = %t
  ready {
    delay = "1ms"
  }
  restart {
    delay = "10ms"
  }
  crash_loop {
    failures = 10000
  }
}
`, name, w.variant, w.n, w.enabled)
	}
	return b.String()
}

type operations struct {
	t   *testing.T
	r   *running
	rng *rand.Rand
}

// one does one thing and waits until what runs is what should.
func (o *operations) one(i int, m model, pids map[string]int) (model, map[string]int) {
	next := maps.Clone(m)
	names := slices.Sorted(maps.Keys(m))
	name := names[o.rng.IntN(len(names))]
	w := m[name]
	c := o.r.client()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	what := ""
	var do func() error
	touched := "" // an instance that the operation itself ends
	verb := func(v string, cmd ipc.Command) func() error {
		return func() error { _, err := c.Do(ctx, name, v, cmd); return err }
	}
	switch o.rng.IntN(10) {
	case 0, 1, 2, 3:
		what = "apply"
		next = o.mutate(m)
		text := next.spec()
		do = func() error {
			_, err := c.Apply(ctx, ipc.ApplyRequest{Files: []ipc.SpecFile{{Name: "ops.hcl", Text: text}}})
			return err
		}
	case 4:
		what = "apply what is wrong"
		do = func() error {
			_, err := c.Apply(ctx, ipc.ApplyRequest{Files: []ipc.SpecFile{{Name: "ops.hcl", Text: m.spec() + "nonsense = 1"}}})
			var api *ipc.Error
			if errors.As(err, &api) && api.Code == ipc.CodeFailed && api.Detail != "" {
				return nil
			}
			return fmt.Errorf("it was taken: %w", err)
		}
	case 5, 6:
		w.n = o.rng.IntN(4)
		what = fmt.Sprintf("scale %s %d", name, w.n)
		do = verb(ipc.VerbScale, ipc.Command{Instances: w.n})
		next[name] = w
	case 7:
		what = "stop " + name
		w.stopped, w.started = true, false
		do = verb(ipc.VerbStop, ipc.Command{})
		next[name] = w
	case 8:
		what = "start " + name
		w.stopped, w.started = false, w.started || !w.enabled
		do = verb(ipc.VerbStart, ipc.Command{})
		next[name] = w
	default:
		id := name + "/0"
		what, touched = "kill "+id, id
		do = func() error {
			if pids[id] == 0 {
				return nil
			}
			return syscall.Kill(pids[id], syscall.SIGKILL)
		}
	}
	candidates := []model{next}
	switch o.rng.IntN(5) {
	case 0: // the supervisor dies in the middle of it
		what += ", and the supervisor dies"
		pid := status(o.t, o.r).Supervisor.PID
		done := make(chan error, 1)
		go func() { done <- do() }()
		// The moment is what is random; nothing depends on how long it is.
		<-time.After(time.Duration(o.rng.IntN(20)) * time.Millisecond)
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			o.t.Fatalf("operation %d, %s: %v", i, what, err)
		}
		err := <-done
		if err != nil {
			candidates = []model{next, m} // it may have been done
		}
	default:
		if err := do(); err != nil {
			o.t.Fatalf("operation %d, %s: %v\n%s", i, what, err, o.r.out.String())
		}
	}
	what = fmt.Sprintf("operation %d, %s", i, what)
	if pid := pids[touched]; pid != 0 {
		waitFor(o.t, what+": its end is known", func() error {
			if in := o.find(touched); in == nil || in.PID == pid {
				return fmt.Errorf("%s still has pid %d", touched, pid)
			}
			return nil
		})
	}
	is, now := o.settle(what, candidates)
	for id, pid := range pids {
		service, _, _ := strings.Cut(id, "/")
		a, b := m[service], is[service]
		if id != touched && now[id] != 0 && now[id] != pid && a.variant == b.variant && a.runs() && b.runs() {
			o.t.Fatalf("%s: %s had pid %d, and has %d, for no reason\n%s", what, id, pid, now[id], o.r.out.String())
		}
	}
	return is, now
}

// mutate is the specification of another model, applied to m: what people said of
// the number of instances counts no more, what they stopped stays stopped.
func (o *operations) mutate(m model) model {
	next := model{}
	for name, w := range m {
		switch o.rng.IntN(8) {
		case 0:
			w.variant = o.rng.IntN(3)
		case 1:
			w.n = o.rng.IntN(4)
		case 2:
			w.enabled = !w.enabled
		case 3:
			if len(m) > 1 && len(next) > 0 {
				continue // removed
			}
		}
		w.started = w.started && !w.enabled
		next[name] = w
	}
	if o.rng.IntN(3) == 0 {
		if name := fmt.Sprintf("s%d", o.rng.IntN(6)); next[name] == (wants{}) && m[name] == (wants{}) {
			next[name] = wants{variant: o.rng.IntN(3), n: o.rng.IntN(3), enabled: true}
		}
	}
	return next
}

// settle waits until what runs is what one of the candidates says.
func (o *operations) settle(what string, candidates []model) (model, map[string]int) {
	var is model
	var pids map[string]int
	deadline := time.Now().Add(patience)
	for {
		var err error
		for _, m := range candidates {
			if pids, err = o.compare(m); err == nil {
				is = m
				break
			}
		}
		if err == nil {
			return is, pids
		}
		if time.Now().After(deadline) {
			o.t.Fatalf("%s: %s later: %v\n%s", what, patience, err, o.r.out.String())
		}
		<-time.After(5 * time.Millisecond)
	}
}

// find is an instance as the status has it, or nil while nobody answers.
func (o *operations) find(id string) *ipc.Instance {
	service, _, _ := strings.Cut(id, "/")
	s, err := o.r.client().Service(context.Background(), service)
	if err != nil {
		return nil
	}
	return s.Instance(id)
}

// compare says how what runs differs from m, and returns the pids by instance.
func (o *operations) compare(m model) (map[string]int, error) {
	st, err := o.r.client().Status(context.Background())
	if err != nil {
		return nil, err
	}
	pids := map[string]int{}
	if len(st.Services) != len(m) {
		return nil, fmt.Errorf("there are %d services, not %d", len(st.Services), len(m))
	}
	for i := range st.Services {
		s := &st.Services[i]
		w, ok := m[s.Name]
		if !ok {
			return nil, fmt.Errorf("there is %s", s.Name)
		}
		if s.InstancesDesired != w.n {
			return nil, fmt.Errorf("%s has %d instances, not %d", s.Name, s.InstancesDesired, w.n)
		}
		for k := range s.Instances {
			in := &s.Instances[k]
			switch {
			case !w.runs() || in.Index >= w.n:
				if in.PID != 0 {
					return nil, fmt.Errorf("%s runs", in.ID)
				}
				continue
			case in.State != "ready":
				return nil, fmt.Errorf("%s is %s", in.ID, in.State)
			}
			line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", in.PID))
			if want := fmt.Sprintf("sleep\x0010000%d\x00", w.variant); err != nil || string(line) != want {
				return nil, fmt.Errorf("%s is %q (%v), not %q", in.ID, line, err, want)
			}
			pids[in.ID] = in.PID
		}
	}
	return pids, nil
}
