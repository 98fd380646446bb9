package supervisor

import (
	"strconv"

	"sync"
	"time"

	"nines/cgroups"
	"nines/spec"
	"nines/supervisor/journal"
	"nines/supervisor/policy"
)

// watchPause is how long a group is not watched after it was told of: one that
// is at its limit is there all the time.
const watchPause = time.Minute

// watcher tells of instances that are held up at memory.high, or were refused
// processes by pids.max, as the kernel says it, once a minute each.
type watcher struct {
	s *Supervisor
	w *cgroups.Watcher // nil: there is none

	mu      sync.Mutex
	sampler *cgroups.Sampler
	watched map[cgroups.Change]*watch
}

// watch is one file of one incarnation's group.
type watch struct {
	group    *cgroups.Group
	service  string
	instance string
	limit    string // as the spec has it
	seen     uint64 // told of so many times
	timer    *time.Timer
}

// newWatcher makes one and runs it; without inotify, or without cgroups, there
// is nothing to tell.
func newWatcher(s *Supervisor) *watcher {
	w := &watcher{s: s, sampler: cgroups.NewSampler(), watched: map[cgroups.Change]*watch{}}
	if s.cfg.Cgroups == nil {
		return w
	}
	var err error
	if w.w, err = cgroups.NewWatcher(); err != nil {
		s.log.Warn("cannot tell when instances are held up at memory.high or pids.max: raise fs.inotify.max_user_instances", "err", err)
		return w
	}
	go func() {
		if err := w.w.Run(w.told); err != nil {
			s.log.Error("instances that are held up at memory.high or pids.max are not told of any more", "err", err)
		}
	}()
	return w
}

// begin watches what limits an incarnation without ending it.
func (w *watcher) begin(svc *spec.Service, id string, g *cgroups.Group) {
	if w.w == nil || g == nil {
		return
	}
	if m := svc.Limits.Memory; m != nil && !m.High.IsZero() {
		w.add("memory.events", &watch{group: g, service: svc.Name, instance: id, limit: m.High.String()})
	}
	if p := svc.Limits.Pids; p != nil && p.Max > 0 {
		w.add("pids.events", &watch{group: g, service: svc.Name, instance: id, limit: strconv.Itoa(p.Max)})
	}
}

func (w *watcher) add(file string, x *watch) {
	c := cgroups.Change{Name: x.group.Name(), File: file}
	w.mu.Lock()
	w.watched[c] = x
	x.seen, _ = w.count(x, file) // of an adopted one that was told
	w.mu.Unlock()
	// No such file: the controller is missing, which status says.
	_ = w.w.Add(x.group, file)
}

// end stops watching a group; nil is none.
func (w *watcher) end(g *cgroups.Group) {
	if w.w == nil || g == nil {
		return
	}
	for _, file := range []string{"memory.events", "pids.events"} {
		c := cgroups.Change{Name: g.Name(), File: file}
		w.mu.Lock()
		x := w.watched[c]
		delete(w.watched, c)
		if x != nil && x.timer != nil {
			x.timer.Stop()
		}
		w.mu.Unlock()
		if x != nil {
			w.w.Remove(g, file)
		}
	}
}

func (w *watcher) close() {
	if w.w == nil {
		return
	}
	w.mu.Lock()
	for _, x := range w.watched {
		if x.timer != nil {
			x.timer.Stop()
		}
	}
	clear(w.watched)
	w.mu.Unlock()
	// What it could report concerns nobody any more.
	_ = w.w.Close()
}

// told is the kernel's word that a file has changed. For a minute the group is
// not watched then; what happens meanwhile is told after it.
func (w *watcher) told(c cgroups.Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	x := w.watched[c]
	if x == nil || x.timer != nil {
		return
	}
	n, ok := w.count(x, c.File)
	if !ok || n <= x.seen {
		return // it has just ended, or something else of it has changed
	}
	more := n - x.seen
	x.seen = n
	w.s.note(x.entry(c.File, more))
	w.w.Remove(x.group, c.File)
	x.timer = time.AfterFunc(watchPause, func() {
		w.mu.Lock()
		live := w.watched[c] == x
		x.timer = nil
		w.mu.Unlock()
		if !live {
			return
		}
		// As in add.
		_ = w.w.Add(x.group, c.File)
		w.told(c)
	})
}

// count is how often it happened; w.mu is held.
func (w *watcher) count(x *watch, file string) (n uint64, ok bool) {
	part := cgroups.PidsEventsPart
	if file == "memory.events" {
		part = cgroups.MemoryEventsPart
	}
	var st cgroups.Stats
	if err := w.sampler.Read(x.group, part, &st); err != nil {
		return 0, false
	}
	return st.PidsMax + st.MemoryEvents.High, true // one of them was read
}

func (x *watch) entry(file string, times uint64) journal.Entry {
	e := journal.Entry{Service: x.service, Instance: x.instance, Kind: policy.KindMemoryHigh}
	n := strconv.FormatUint(times, 10) + " time"
	if times != 1 {
		n += "s"
	}
	if file == "memory.events" {
		e.Text = "throttled and reclaimed at memory.high (" + x.limit + "), " + n
	} else {
		e.Kind = journal.KindForkRefused
		e.Text = "refused more processes by pids.max (" + x.limit + "), " + n
	}
	return e
}
