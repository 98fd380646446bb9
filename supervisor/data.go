package supervisor

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"nines/spec"
	"nines/supervisor/policy"
	"nines/supervisor/proc"
	"nines/supervisor/snapshot"
)

// dataWork is what is done with services' data: each in a goroutine of its own, while
// nothing of its service lives. The loop owns it.
type dataWork struct {
	moving map[uint64]context.CancelFunc // by token

	// Old snapshots are removed while none is taken: until policy has heard of one,
	// nobody would say that it is to be kept.
	collecting bool
	waiting    []policy.Action
}

// keepSnapshots is how many revisions' data are kept where no release block says.
const keepSnapshots = 5

// OpenSnapshots opens the store of snapshots at dir, an absolute path.
func OpenSnapshots(dir string) (*snapshot.Store, error) {
	return snapshot.Open(dir, func(point string) { fault("data-" + point) })
}

// move is one thing to do with the data of a service, and what it is done with.
type move struct {
	action  policy.Action
	data    spec.Data
	as      *spec.Service // whose rights and environment a command has
	release string
}

// moveData begins to keep, or to put back, the data of a service.
func (s *Supervisor) moveData(a policy.Action) {
	d := &s.data
	if d.collecting {
		d.waiting = append(d.waiting, a)
		return
	}
	done := policy.DataDone{Service: a.Service, Token: a.Token}
	now := s.machine.Spec(a.Service)
	as, digest := s.machine.Revision(a.Service, a.Revision)
	ctx, cancel := context.WithCancel(context.Background())
	if d.moving == nil {
		d.moving = map[uint64]context.CancelFunc{}
	}
	d.moving[a.Token] = cancel
	m := &move{action: a, as: as}
	switch {
	case now != nil && now.Data != nil:
		m.data = *now.Data
	case now == nil || a.Kind == policy.ActSnapshot: // it was removed since
		s.box.put(func() {
			s.dataMoved(policy.DataDone{Service: a.Service, Token: a.Token, Cause: "it has no data block any more"})
		})
		return
	}
	if m.as == nil {
		m.as = now
	}
	if s.cfg.Releases != nil {
		m.release = ReleaseOf(digest)
	}
	fault("data-asked")
	go func() {
		var err error
		if a.Kind == policy.ActSnapshot {
			done.Snapshot, done.Text, err = s.keepData(ctx, m)
		} else {
			done.Text, done.Begun, err = s.putBack(ctx, m)
		}
		if done.OK = err == nil; err != nil {
			done.Cause = err.Error()
		}
		fault("data-answered")
		s.box.put(func() { s.dataMoved(done) })
	}()
}

// dataMoved gives policy the answer.
func (s *Supervisor) dataMoved(done policy.DataDone) {
	if cancel := s.data.moving[done.Token]; cancel != nil {
		cancel()
		delete(s.data.moving, done.Token)
	}
	s.step(done)
	s.collectSnapshots()
}

// stop ends what is under way: the supervisor ends. A restore is gone on with by the
// next one; a snapshot is none.
func (d *dataWork) stop() {
	for _, cancel := range d.moving {
		cancel()
	}
}

var errNoSnapshots = errors.New("there is no state folder to keep a copy of the data in: set --state-dir")

// keepData runs before_update and takes a snapshot; a worker calls it.
func (s *Supervisor) keepData(ctx context.Context, m *move) (id, text string, err error) {
	if s.cfg.Snapshots == nil {
		return "", "", errNoSnapshots
	}
	if err := s.runData(ctx, m, "before_update", m.data.BeforeUpdate); err != nil {
		return "", "", err
	}
	ctx, cancel := context.WithTimeout(ctx, m.action.Timeout)
	defer cancel()
	type answer struct {
		snap snapshot.Snapshot
		err  error
	}
	took := make(chan answer, 1)
	go func() {
		snap, err := s.cfg.Snapshots.Take(ctx, snapshot.Request{
			Service: m.action.Service, Revision: m.action.Revision, Paths: m.data.Paths, Time: time.Now(),
		})
		took <- answer{snap, err}
	}()
	var a answer
	select {
	case a = <-took:
	case <-ctx.Done():
		select {
		case a = <-took:
		case <-time.After(killPatience): // a filesystem does not answer; once it does, nothing is kept
			a.err = ctx.Err()
		}
	}
	if errors.Is(a.err, context.DeadlineExceeded) {
		a.err = fmt.Errorf("cannot copy the data within %s (update.deadline)", short(m.action.Timeout))
	}
	if a.err != nil {
		return "", "", a.err
	}
	text = fmt.Sprintf("%s in %s, as %s", sizeWords(a.snap.Size), count(int(a.snap.Files), "file"), a.snap.ID)
	return a.snap.ID, text, nil
}

// putBack puts data back and runs on_revert; a worker calls it. A restore takes as long
// as it takes: half of it is of no use.
func (s *Supervisor) putBack(ctx context.Context, m *move) (text string, begun bool, err error) {
	var did []string
	if m.action.Snapshot != "" {
		if s.cfg.Snapshots == nil {
			return "", false, errNoSnapshots
		}
		r, err := s.cfg.Snapshots.Restore(ctx, m.action.Snapshot, m.action.Label, nil)
		if err != nil {
			var b *snapshot.ErrBegun
			return "", errors.As(err, &b), err
		}
		fault("data-restored")
		did = append(did, asideWords(r))
	}
	if len(m.data.OnRevert) > 0 {
		if err := s.runData(ctx, m, "on_revert", m.data.OnRevert); err != nil {
			return "", true, err
		}
		did = append(did, "on_revert has run")
	}
	return strings.Join(did, "; "), false, nil
}

// asideWords says where the newer state of a restore is.
func asideWords(r snapshot.Restored) string {
	var aside []string
	for _, p := range r.Paths {
		aside = append(aside, p.To...)
	}
	if aside == nil {
		return "there was nothing in their place"
	}
	return "what was there is now at " + strings.Join(aside, ", ")
}

// runData runs a command of a data block.
func (s *Supervisor) runData(ctx context.Context, m *move, what string, argv []string) error {
	if len(argv) == 0 {
		return nil
	}
	a := &m.action
	name := a.Service + "/data." + what + "-" + strconv.FormatUint(s.sideSeq.Add(1), 10)
	r := newSideRun("data", what, name, a.Timeout, func(r *resolver) (*proc.Command, error) {
		return r.beside(m.as, m.release, name, a.Revision, argv)
	})
	err := s.runSide(ctx, r, nil)
	var failed *proc.Error
	if errors.As(err, &failed) {
		return fmt.Errorf("%s: %w", what, err)
	}
	return err
}

// PlanData says what an apply of that specification of a service would do with its
// data.
func (s *Supervisor) PlanData(ctx context.Context, svc *spec.Service, digest string) (move policy.DataMove, err error) {
	err = s.call(ctx, func() { move = s.machine.PlanData(svc, digest) })
	return move, err
}

// foundRestores are the restores that a predecessor has begun and not ended, by
// service.
func (s *Supervisor) foundRestores() map[string]policy.Restore {
	if s.cfg.Snapshots == nil {
		return nil
	}
	pending, err := s.cfg.Snapshots.Pending()
	if err != nil {
		s.log.Error("cannot tell which data were being put back: look before you start their service", "err", err)
	}
	found := map[string]policy.Restore{}
	for id, label := range pending {
		snap, err := s.cfg.Snapshots.Get(id)
		if err != nil {
			s.log.Error("data were being put back, and cannot be any more: look before you start their service", "snapshot", id, "err", err)
			continue
		}
		found[snap.Service] = policy.Restore{Revision: snap.Revision, Snapshot: id, Label: label}
	}
	return found
}

// collectSnapshots has the snapshots removed of revisions that nobody goes back to any
// more. Those of a service that is no more in the specification stay.
func (s *Supervisor) collectSnapshots() {
	d := &s.data
	if s.cfg.Snapshots == nil || d.collecting || len(d.moving) > 0 {
		return
	}
	keep, known := map[string]bool{}, map[string]bool{}
	some := false
	for name := range s.books.by {
		svc := s.machine.Spec(name)
		if svc == nil {
			continue
		}
		known[name] = true
		n := keepSnapshots
		if svc.Release != nil {
			n = svc.Release.Keep
		}
		for _, id := range s.machine.Snapshots(name, max(n, 2)) {
			keep[id], some = true, true
		}
	}
	if !some {
		return // none was taken yet
	}
	d.collecting = true
	go func() {
		s.removeSnapshots(keep, known)
		s.box.put(func() {
			d.collecting = false
			waiting := d.waiting
			d.waiting = nil
			for _, a := range waiting {
				s.moveData(a)
			}
		})
	}()
}

// removeSnapshots removes those of known services that are not to be kept; a worker
// calls it.
func (s *Supervisor) removeSnapshots(keep, known map[string]bool) {
	all, err := s.cfg.Snapshots.List()
	if err != nil {
		s.log.Warn("cannot tell which snapshots are old: none is removed", "err", err)
		return
	}
	var stay []string
	for _, snap := range all {
		if keep[snap.ID] || !known[snap.Service] {
			stay = append(stay, snap.ID)
		}
	}
	if len(stay) == len(all) {
		return
	}
	removed, err := s.cfg.Snapshots.Collect(stay)
	if err != nil {
		s.log.Warn(err.Error())
	}
	if len(removed) > 0 {
		s.log.Info("old snapshots of data are removed", "ids", removed)
	}
}

// sizeWords is a size as people write it.
func sizeWords(n int64) string {
	const units = "KMGT"
	if n < 1<<10 {
		return count(int(n), "byte")
	}
	v, u := float64(n), -1
	for v >= 1<<10 && u < len(units)-1 {
		v, u = v/(1<<10), u+1
	}
	return strconv.FormatFloat(v, 'f', 1, 64) + " " + units[u:u+1] + "iB"
}
