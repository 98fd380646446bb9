package policy

import (
	"fmt"
	"strconv"

	"nines/spec"
)

// files are the data of the service of a world of updates, which an observer who does
// not believe the machine watches:
//
//   - while they are kept, or put back, nothing lives, and no two revisions run on them
//     at once
//   - a revision is started on the data that it has itself left, or, for the first time,
//     on data that were kept as they are: so never on those of one that was reverted
//   - nor on half of what a restore puts back, whoever died meanwhile
type files struct {
	of     string            // the digest that wrote to them last; "": nobody has
	kept   bool              // a snapshot has them as they are
	half   string            // a restore of that label has begun and is not done
	copies map[string]string // by snapshot: the digest that had written to it last
	done   map[string]bool   // labels of restores
	next   int

	machine *Machine // whose driver moves them just now
	busy    bool
	dying   bool // the next one takes over
	applied *spec.Spec
}

func newFiles() *files { return &files{copies: map[string]string{}, done: map[string]bool{}} }

// runs: x is started on them.
func (f *files) runs(u *updates, x *updated) {
	if f == nil {
		return
	}
	data := u.svc.Data
	switch {
	case f.busy && f.machine == u.m:
		u.fail("data: %s is started while they are moved", x.id)
	case f.half != "":
		u.fail("data: %s is started on half of what is put back", x.id)
	case data.Restore && f.of != "" && f.of != x.digest && !f.kept:
		u.fail("data: %s is started with %s on those of %s, of which there is no copy", x.id, x.digest, f.of)
	}
	for _, o := range u.incs {
		if o != x && !o.over && o.digest != x.digest {
			u.fail("data: %s runs with %s beside %s", x.id, x.digest, o.digest)
		}
	}
	f.of, f.kept = x.digest, false
}

// carry moves them, well or not.
func (f *files) carry(u *updates, a Action) {
	for _, x := range u.incs {
		if !x.over {
			u.fail("data: they are moved, and %s lives", x.id)
		}
	}
	if f.busy && f.machine == u.m {
		u.fail("data: they are moved twice at once")
	}
	f.machine, f.busy = u.m, true
	by := u.m
	done := DataDone{Service: a.Service, Token: a.Token}
	if a.Kind == ActRestore && f.half != "" && f.half != a.Label {
		u.fail("data: %s is put back before %s is done", a.Label, f.half)
	}
	if a.Kind == ActRestore && u.rng.IntN(2) == 0 {
		f.half = a.Label // if its driver dies now, this is how they are
	}
	u.after(u.dur(10e9), func() {
		luck := u.rng.IntN(10)
		if u.m != by {
			return // it died with its driver
		}
		f.busy = false
		if a.Kind == ActSnapshot && luck == 0 {
			return // the answer is lost
		}
		switch {
		case luck < 3 && !f.done[a.Label]: // what was done is only looked up
			done.Begun, done.Cause = f.half != "", "no space left on device"
		case a.Kind == ActSnapshot:
			f.next++
			done.OK, done.Snapshot = true, "S"+strconv.Itoa(f.next)
			f.copies[done.Snapshot] = f.of
			f.kept = true
			if r := u.m.services[0].find(a.Revision); r == nil || f.of != "" && r.Digest != f.of {
				u.fail("data: those of %s are kept as revision %d: %+v", f.of, a.Revision, u.m.services[0].known)
			}
		default:
			of, ok := f.copies[a.Snapshot]
			if r := u.m.services[0].find(a.Revision); !ok || r == nil || of != "" && r.Digest != of {
				u.fail("data: %q, of %q, is put back for revision %d", a.Snapshot, of, a.Revision)
			}
			f.of, f.kept, f.half, done.OK = of, true, "", true
			f.done[a.Label] = true
		}
		u.feed(done)
	})
}

// dies says whether the supervisor dies in this step. What that decided is lost then,
// but for what has left already.
func (f *files) dies(u *updates, ev Event) bool {
	if f == nil {
		return false
	}
	if !f.dying && !u.last && f.applied != nil && u.rng.IntN(100) == 0 {
		return true
	}
	if e, ok := ev.(SpecChanged); ok {
		f.applied = e.Spec
	}
	return false
}

// diesIn lets the supervisor die in the step of ev.
func (u *updates) diesIn(ev Event, o *Output) {
	if u.trace != nil {
		fmt.Fprintf(u.trace, "%T\n%s          the supervisor dies before that is recorded\n", ev, u.format(o))
	}
	u.files.dying = true
	for _, a := range o.Now {
		u.carry(a)
	}
	e, applies := ev.(SpecChanged)
	if applies = applies && e.Request != 0; applies {
		u.spec = u.files.applied
	}
	u.die()
	if applies { // it is durable, and had not begun
		u.spec, u.reverts = e.Spec, 0
		u.feed(SpecChanged{Spec: e.Spec, Digests: e.Digests, Number: e.Number})
	}
	u.files.dying = false
}

// retell tells the next supervisor what the one before was told, and did not record.
func (u *updates) retell(s *slot, x *updated) {
	switch {
	case u.files == nil || x == nil || !s.phase.lives():
	case x.over && !s.exited:
		u.feed(Exited{Ref: x.ref, Status: x.status, Empty: true})
	case x.ready && (s.phase == phaseStarting || s.phase == phaseSpawning):
		u.feed(Spawned{Ref: x.ref, PID: 1})
		u.feed(Ready{Ref: x.ref})
	}
}
