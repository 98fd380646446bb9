package supervisor

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"nines/cgroups"
	"nines/spec"
)

// killPatience is how long a killer tries before it reports; it is shorter
// than policy's patience, so that asking again finds no killer at work.
const killPatience = 9 * time.Second

// removePatience bounds how long the removal of one cgroup is tried: a cgroup
// says EBUSY for some milliseconds after its last process ended.
const removePatience = 2 * time.Second

// janitor removes the cgroups of ended incarnations, off the critical path.
type janitor struct {
	mu     sync.Mutex
	groups []*cgroups.Group
	former []*cgroups.Group // folders of services that are no more
	closed bool
	ready  chan struct{}
	done   chan struct{}
	s      *Supervisor
	log    *slog.Logger
}

func newJanitor(s *Supervisor) *janitor {
	return &janitor{ready: make(chan struct{}, 1), done: make(chan struct{}), s: s, log: s.log}
}

// remove hands over a cgroup in which nothing lives; nil is none.
func (j *janitor) remove(g *cgroups.Group) {
	if g == nil {
		return
	}
	j.mu.Lock()
	j.groups = append(j.groups, g)
	j.mu.Unlock()
	j.wake()
}

// only has the folders of all but these services removed, each as soon as
// nothing is in it.
func (j *janitor) only(t *cgroups.Tree, services []*spec.Service) {
	if t == nil {
		return
	}
	names, err := t.List()
	if err != nil {
		j.log.Warn("cannot remove the cgroups of services that are no more", "err", err)
		return
	}
	keep := map[string]bool{}
	for _, svc := range services {
		keep[svc.Name] = true
	}
	j.mu.Lock()
	j.former = nil
	for _, name := range names {
		if !keep[name] {
			j.former = append(j.former, t.Group(name))
		}
	}
	j.sweep()
	j.mu.Unlock()
}

// sweep removes what it can of former, with mu held: a service of that name may
// come back, and its next group must not lose its folder while it is made.
func (j *janitor) sweep() {
	j.former = slices.DeleteFunc(j.former, (*cgroups.Group).TryRemove)
}

// removeNow removes a cgroup in which nothing lives, and returns when it is gone:
// for one whose name is used again. nil is none.
func (j *janitor) removeNow(g *cgroups.Group) {
	if g == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), removePatience)
	defer cancel()
	if err := g.Remove(ctx); err != nil {
		j.log.Warn("cannot remove cgroup", "cgroup", g.Path(), "err", err)
	}
	j.mu.Lock()
	j.sweep()
	j.mu.Unlock()
}

func (j *janitor) wake() {
	select {
	case j.ready <- struct{}{}:
	default:
	}
}

// close removes what is left and ends the janitor; it waits.
func (j *janitor) close() {
	j.mu.Lock()
	j.closed = true
	j.mu.Unlock()
	j.wake()
	<-j.done
}

func (j *janitor) run() {
	defer close(j.done)
	for {
		j.mu.Lock()
		groups, closed := j.groups, j.closed
		j.groups = nil
		j.mu.Unlock()
		if len(groups) == 0 {
			if closed {
				return
			}
			<-j.ready
			continue
		}
		for _, g := range groups {
			j.s.watcher.end(g)
			ctx, cancel := context.WithTimeout(context.Background(), removePatience)
			if err := g.Remove(ctx); err != nil {
				j.log.Warn("cannot remove cgroup", "cgroup", g.Path(), "err", err)
			}
			cancel()
		}
		j.mu.Lock()
		j.sweep()
		j.mu.Unlock()
	}
}
