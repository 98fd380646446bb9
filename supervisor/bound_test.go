package supervisor

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"nines/spec"
	"nines/supervisor/journal"
	"nines/supervisor/logs"
	"nines/supervisor/policy"
	"nines/supervisor/probe"
	"nines/supervisor/schedule"
)

// judging is a supervisor with its machine, its checks and its loop, in virtual
// time: three ready instances of a service with one check that alerts.
type judging struct {
	*Supervisor
	tokens map[policy.Slot]uint64
	refs   [3]policy.Ref
	svc    *spec.Service
}

func judge(t *testing.T, k spec.Check) *judging {
	t.Helper()
	k.Name, k.OnFailure = "alive", spec.OnFailureAlert
	svc := &spec.Service{Name: "web", Type: spec.TypeService, Enabled: true, Instances: 3, Checks: []spec.Check{k}}
	b := newBench(t, Past{}, nil, svc)
	j := &judging{Supervisor: b.s, tokens: map[policy.Slot]uint64{}, svc: svc}
	j.clock, j.box = newClock(), newMailbox()
	j.machine = policy.New(policy.Config{})
	j.checks = newChecks(j.Supervisor)
	j.checks.psi.path = filepath.Join(t.TempDir(), "none")
	take := func(out *policy.Output) {
		for _, a := range out.Now {
			if a.Kind == policy.ActCheck {
				j.tokens[a.Ref.Slot] = a.Token
			}
		}
	}
	take(j.machine.Step(j.clock.now(), policy.SpecChanged{Spec: &spec.Spec{Services: []*spec.Service{svc}}}))
	for i := range j.refs {
		j.refs[i], _ = j.machine.Incarnation("web", i, 1)
		take(j.machine.Step(j.clock.now(), policy.Spawned{Ref: j.refs[i], PID: 100 + i, Start: 1}))
	}
	if len(j.tokens) != 3 {
		t.Fatalf("checks of %d instances are asked for", len(j.tokens))
	}
	return j
}

// begin begins the attempts of instance i, as checks.begin does. ask is what an
// attempt asks; nil: what the kind itself looks at.
func (j *judging) begin(i int, ask func(context.Context) probe.Result) *attempt {
	block := &j.svc.Checks[0]
	in := &incarnation{ref: j.refs[i], id: fmt.Sprintf("web/%d", i), name: fmt.Sprintf("web/%d.1", i), svc: j.svc, index: i}
	t := &attempt{c: j.checks, in: in, ref: in.ref, token: j.tokens[in.ref.Slot], block: block, since: j.clock.now()}
	switch {
	case ask != nil:
		t.probe = t.asks(ask)
	case block.Heartbeat != nil:
		t.probe = t.heartbeat(t.since)
	case block.Log != nil:
		t.probe = func(context.Context) outcome { return told(in.counts.judge(block.Log, sinceBoot(t.c.now()))) }
	}
	first := time.Duration(schedule.Phase(in.id+" "+block.Name) * float64(block.Timing.Interval))
	j.checks.worker(block).Add(&schedule.Job{First: first, Interval: block.Timing.Interval, Do: t.do})
	return t
}

// run turns the loop until the test ends.
func (j *judging) run(t *testing.T) (end func()) {
	j.checks.start()
	quit := make(chan struct{})
	go func() {
		for {
			select {
			case <-j.box.ready:
				j.box.run()
			case <-quit:
				return
			}
		}
	}()
	return func() { j.checks.close(); close(quit); synctest.Wait() }
}

// failed is when each instance was found to fail.
func (j *judging) failed(t *testing.T) map[string]time.Time {
	t.Helper()
	all := map[string]time.Time{}
	if err := j.journal.Read(t.Context(), journal.Query{}, func(e journal.Entry) error {
		if e.Kind == policy.KindCheckFailed {
			all[e.Instance] = e.Time
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	return all
}

// TestFoundWithinBound: guarantee 13. Whatever goes wrong with an instance, and
// whenever, is found within interval × failures + timeout, its siblings are left
// alone, and what goes on for just too short a time is nothing.
func TestFoundWithinBound(t *testing.T) {
	const sec = time.Second
	timings := []spec.Timing{
		{Interval: 10 * sec, Timeout: sec, Failures: 3, Successes: 1},
		{Interval: sec, Timeout: sec, Failures: 1, Successes: 1},
		{Interval: sec, Timeout: 500 * time.Millisecond, Failures: 5, Successes: 2},
	}
	for _, tm := range timings {
		bound := tm.Interval*time.Duration(tm.Failures) + tm.Timeout
		for _, part := range []float64{0, 0.3, 0.7, 0.99} { // of an interval, in which it begins
			at := 2*tm.Interval + time.Duration(part*float64(tm.Interval))
			name := fmt.Sprintf("%v×%d+%v at %v", tm.Interval, tm.Failures, tm.Timeout, at)
			// What answers in time while it is well.
			ask := func(ill *atomic.Int64, is int64, badly func(context.Context) probe.Result) func(context.Context) probe.Result {
				return func(ctx context.Context) probe.Result {
					if ill.Load() == is {
						return badly(ctx)
					}
					return probe.Result{Took: time.Millisecond}
				}
			}
			hang := func(ctx context.Context) probe.Result {
				<-ctx.Done()
				return probe.Result{Took: tm.Timeout, Err: &probe.Error{Cause: probe.Timeout, Text: "no answer"}}
			}
			refuse := func(context.Context) probe.Result {
				return probe.Result{Err: &probe.Error{Cause: probe.Unreachable, Text: "connection refused"}}
			}
			slow := func(ctx context.Context) probe.Result { // max_latency
				select {
				case <-time.After(tm.Timeout / 2):
				case <-ctx.Done():
				}
				return probe.Result{Took: tm.Timeout / 2, Err: &probe.Error{Cause: probe.Slow, Text: "slower than max_latency"}}
			}
			for what, badly := range map[string]func(context.Context) probe.Result{"hangs": hang, "refuses": refuse, "slow": slow} {
				t.Run(what+" "+name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						j := judge(t, spec.Check{Timing: tm, HTTP: &spec.CheckHTTP{}})
						end := j.run(t)
						var ill atomic.Int64
						for i := range j.refs {
							j.begin(i, ask(&ill, int64(i)+1, badly))
						}
						time.Sleep(at)
						// A pause that ends before the row is complete is none.
						if tm.Failures > 1 {
							ill.Store(2)
							time.Sleep(tm.Interval * time.Duration(tm.Failures-1))
							ill.Store(0)
							time.Sleep(2 * tm.Interval)
							synctest.Wait()
							if got := j.failed(t); len(got) != 0 {
								t.Fatalf("a pause of %d attempts was taken for a failure: %v", tm.Failures-1, got)
							}
						}
						ill.Store(2)
						begun := time.Now()
						time.Sleep(10 * bound)
						synctest.Wait()
						found := j.failed(t)
						if took := found["web/1"].Sub(begun); len(found) != 1 || took > bound || took < 0 {
							t.Errorf("found %v, after %v; at most %v are right", found, took, bound)
						}
						end()
					})
				})
			}
			t.Run("silent "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					j := judge(t, spec.Check{Timing: tm, Heartbeat: &spec.CheckHeartbeat{}})
					var silent atomic.Int64 // since when web/1 gives no sign of life
					j.checks.beat = func(ref policy.Ref, _ string) (policy.Time, time.Duration) {
						if s := silent.Load(); ref == j.refs[1] && s != 0 {
							return policy.Time(s), 0
						}
						return j.clock.now(), 0
					}
					end := j.run(t)
					for i := range j.refs {
						j.begin(i, nil)
					}
					time.Sleep(at)
					begun := time.Now()
					silent.Store(int64(j.clock.now()))
					time.Sleep(10 * bound)
					synctest.Wait()
					found := j.failed(t)
					if took := found["web/1"].Sub(begun); len(found) != 1 || took > bound || took < tm.Timeout {
						t.Errorf("found %v, after %v; at most %v are right", found, took, bound)
					}
					end()
				})
			})
			t.Run("says "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					block := &spec.CheckLog{Pattern: "ERROR", Max: spec.Rate{Count: 20, Per: time.Hour}}
					j := judge(t, spec.Check{Timing: tm, Log: block})
					end := j.run(t)
					var as [3]*attempt
					for i := range j.refs {
						as[i] = j.begin(i, nil)
					}
					count := func(i int, total uint64) {
						as[i].in.counts.add("a", &logs.Count{ID: 1, Pattern: "ERROR", Within: time.Hour, Total: total}, j.svc.Checks, sinceBoot(j.clock.now()))
					}
					time.Sleep(at)
					count(0, 20) // as many as may be
					count(1, 21)
					begun := time.Now()
					time.Sleep(10 * bound)
					synctest.Wait()
					found := j.failed(t)
					if took := found["web/1"].Sub(begun); len(found) != 1 || took > bound {
						t.Errorf("found %v, after %v; at most %v are right", found, took, bound)
					}
					end()
				})
			})
		}
	}
}

// TestGrowsSlower: answers that take longer and longer are found when they pass
// max_latency, and not before.
func TestGrowsSlower(t *testing.T) {
	const sec = time.Second
	tm := spec.Timing{Interval: sec, Timeout: 900 * time.Millisecond, Failures: 3, Successes: 1}
	synctest.Test(t, func(t *testing.T) {
		j := judge(t, spec.Check{Timing: tm, HTTP: &spec.CheckHTTP{MaxLatency: 500 * time.Millisecond}})
		end := j.run(t)
		n, first := 0, time.Time{} // the first answer that is too slow begins
		for i := range j.refs {
			j.begin(i, func(context.Context) probe.Result {
				if i != 1 {
					return probe.Result{}
				}
				n++
				took := time.Duration(n) * 20 * time.Millisecond
				if took <= j.svc.Checks[0].HTTP.MaxLatency {
					time.Sleep(took)
					return probe.Result{Took: took}
				}
				if first.IsZero() {
					first = time.Now()
				}
				time.Sleep(took)
				return probe.Result{Took: took, Err: &probe.Error{Cause: probe.Slow, Text: "slower than max_latency"}}
			})
		}
		time.Sleep(40 * sec)
		synctest.Wait()
		found := j.failed(t)
		if took := found["web/1"].Sub(first); len(found) != 1 || n < 28 || took < 2*sec || took > 2*sec+tm.Timeout {
			t.Errorf("found %v, %v after the first slow answer, of %d", found, took, n)
		}
		end()
	})
}
