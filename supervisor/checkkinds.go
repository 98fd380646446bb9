package supervisor

import (
	"context"
	"errors"
	"sync"
	"time"

	"nines/spec"
	"nines/spec/load"
	"nines/supervisor/policy"
	"nines/supervisor/probe"
	"nines/supervisor/proc"
)

// worker is who makes attempts of a kind.
func (c *checks) worker(block *spec.Check) *pool {
	switch {
	case block.Exec != nil:
		return c.run
	case block.HTTP != nil, block.TCP != nil, block.GRPC != nil, block.Metrics != nil:
		return c.ask
	}
	return c.look
}

// make finds out what is to be asked: expressions are evaluated once for each
// incarnation, and not in the loop.
func (t *attempt) make() error {
	b, sc, client := t.block, t.c.s.spawner.resolve.scope(t.in.svc, t.in.release, t.in.index, t.in.ports), t.c.client
	switch {
	case b.HTTP != nil:
		rule, err := client.HTTPRule(b.HTTP)
		if err != nil {
			return err
		}
		url, err := load.String(b.HTTP.URL, sc)
		if err != nil {
			return err
		}
		socket := ""
		if b.HTTP.Socket != "" {
			if socket, err = load.String(b.HTTP.Socket, sc); err != nil {
				return err
			}
		}
		h, err := rule.At(url, socket)
		if err != nil {
			return err
		}
		t.probe = t.asks(h.Probe)
	case b.TCP != nil:
		address, err := load.String(b.TCP.Address, sc)
		if err != nil {
			return err
		}
		t.probe = t.asks(client.TCP(address).Probe)
	case b.GRPC != nil:
		address, err := load.String(b.GRPC.Address, sc)
		if err != nil {
			return err
		}
		t.probe = t.asks(client.GRPC(address, b.GRPC.Service).Probe)
	case b.Metrics != nil:
		rule, err := client.MetricsRule(b.Metrics)
		if err != nil {
			return err
		}
		url, err := load.String(b.Metrics.URL, sc)
		if err != nil {
			return err
		}
		m, err := rule.At(url)
		if err != nil {
			return err
		}
		t.probe = t.asks(m.Probe)
	case b.Exec != nil:
		t.probe = t.exec
	case b.Heartbeat != nil:
		t.probe = t.heartbeat(t.since)
	case b.CPU != nil:
		cpu, begun := probe.NewCPU(b.CPU), time.Now()
		t.probe = func(context.Context) outcome {
			used, err := t.c.meter.cpu(t.in)
			if err != nil {
				return unread(err)
			}
			return told(cpu.Judge(time.Since(begun), used))
		}
	case b.Stall != nil:
		stall, begun := probe.NewStall(b.Stall), time.Now()
		t.probe = func(context.Context) outcome {
			a, err := t.c.meter.activity(t.in)
			if err != nil {
				return unread(err)
			}
			return told(stall.Judge(time.Since(begun), probe.Stalled{CPU: a.CPU, Blocked: a.Blocked, MemoryStall: a.MemoryStall, IOStall: a.IOStall}))
		}
	case b.Outlier != nil:
		o := &outlier{t: t}
		t.probe = o.attempt
	case b.Log != nil:
		t.probe = func(context.Context) outcome {
			if !t.c.s.hearsLogs.Load() {
				return outcome{unheard: true} // nobody counts: nothing is to be said
			}
			return told(t.in.counts.judge(b.Log, sinceBoot(t.c.now())))
		}
	}
	return nil
}

// unread is the outcome where a sample cannot be had: of what has just ended
// nothing is to be said.
func unread(err error) outcome {
	if gone(err) {
		return outcome{unheard: true}
	}
	return outcome{failed: true, excuse: policy.ExcuseUnable, reason: oneLine(err.Error())}
}

// asks makes an attempt of a probe, with the check's timeout.
func (t *attempt) asks(ask func(context.Context) probe.Result) func(context.Context) outcome {
	return func(ctx context.Context) outcome {
		ctx, cancel := context.WithTimeout(ctx, t.block.Timing.Timeout)
		defer cancel()
		r := ask(ctx)
		if r.Err == nil {
			t.in.latency.Store(int64(r.Took))
		}
		return told(r)
	}
}

// told is what a probe's result means.
func told(r probe.Result) outcome {
	if r.Err == nil {
		return outcome{}
	}
	o := outcome{failed: true, reason: oneLine(r.Err.Error()), output: r.Output, took: r.Took}
	var e *probe.Error
	if errors.As(r.Err, &e) {
		switch e.Cause {
		case probe.Canceled:
			o.unheard = true
		case probe.Unable:
			o.excuse = policy.ExcuseUnable
		case probe.Bound:
			o.measured = true
		}
	}
	return o
}

// meter reads what instances use. Its readers serve one at a time.
type meter struct {
	mu       sync.Mutex
	memory   *proc.MemoryReader
	activeOf *proc.ActivityReader
}

func newMeter() *meter {
	return &meter{memory: proc.NewMemoryReader(), activeOf: proc.NewActivityReader()}
}

// measure says what the workers of checks measure of an instance; the loop calls
// it when the main process is another.
func (in *incarnation) measure() {
	in.measured.Store(&proc.Tree{PID: in.pid, Start: in.start, Group: in.group})
}

func (m *meter) cpu(in *incarnation) (time.Duration, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.activeOf.CPU(in.measured.Load())
}

func (m *meter) activity(in *incarnation) (proc.Activity, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.activeOf.Read(in.measured.Load())
}

func (m *meter) held(in *incarnation) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.memory.Held(in.measured.Load(), 0)
}

// siblings is what the replicas of a service were measured to use, by the check
// that measures.
type siblings struct {
	mu    sync.Mutex
	by    map[string]map[policy.Ref]value // by service and check
	judge map[string]verdicts
}

type value struct {
	v  float64
	at time.Time
}

// verdicts is what was said of all replicas at a moment: it is not said anew for
// each of them, which would cost the square of their number.
type verdicts struct {
	at   time.Time
	says map[policy.Ref]probe.Result
}

func newSiblings() *siblings {
	return &siblings{by: map[string]map[policy.Ref]value{}, judge: map[string]verdicts{}}
}

// forget takes an incarnation out of all comparisons.
func (s *siblings) forget(ref policy.Ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, m := range s.by {
		if _, ok := m[ref]; !ok {
			continue
		}
		if delete(m, ref); len(m) == 0 {
			delete(s.by, key)
			delete(s.judge, key)
		}
	}
}

// compare takes a value of one replica and says whether it differs. What is older
// than stale is left out; all are judged anew when the last time is half of
// interval ago.
func (s *siblings) compare(key, of string, ref policy.Ref, v float64, interval time.Duration) probe.Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.by[key] == nil {
		s.by[key] = map[policy.Ref]value{}
	}
	s.by[key][ref] = value{v, now}
	j := s.judge[key]
	if _, known := j.says[ref]; !known || now.Sub(j.at) >= interval/2 {
		refs, values := make([]policy.Ref, 0, len(s.by[key])), make([]float64, 0, len(s.by[key]))
		for r, x := range s.by[key] {
			if now.Sub(x.at) <= staleAfter*interval {
				refs, values = append(refs, r), append(values, x.v)
			}
		}
		j = verdicts{at: now, says: make(map[policy.Ref]probe.Result, len(refs))}
		for i, r := range probe.Outliers(of, values) {
			j.says[refs[i]] = r
		}
		s.judge[key] = j
	}
	return j.says[ref]
}

// staleAfter is how many intervals a value of a replica counts.
const staleAfter = 3

// outlier compares an instance with its siblings.
type outlier struct {
	t    *attempt
	used time.Duration // of the last attempt
	at   time.Time
}

func (o *outlier) attempt(context.Context) outcome {
	t := o.t
	of := t.block.Outlier.Of
	v := -1.0 // not known yet
	switch of {
	case "memory":
		n, err := t.c.meter.held(t.in)
		if err != nil {
			return unread(err)
		}
		v = float64(n)
	case "cpu":
		used, err := t.c.meter.cpu(t.in)
		if err != nil {
			return unread(err)
		}
		now := time.Now()
		if !o.at.IsZero() && used >= o.used {
			v = (used - o.used).Seconds() / now.Sub(o.at).Seconds()
		}
		o.used, o.at = used, now
	case "latency":
		if n := t.in.latency.Load(); n > 0 {
			v = time.Duration(n).Seconds()
		}
	}
	return told(t.c.siblings.compare(t.in.svc.Name+" "+t.block.Name, of, t.ref, v, t.block.Timing.Interval))
}
