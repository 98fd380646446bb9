package supervisor

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"nines/spec"
	"nines/supervisor/journal"
	"nines/supervisor/policy"
)

// The revisions of a service outlive boots: its book, one record of the journal,
// has what each ran with, when it came, who asked for it and what became of it.
// What policy decides about a revision (that another is tried, that one is bad) is
// on disk before anything is started because of it.

// bucketRevisions keeps a book for each service, by its name.
const bucketRevisions journal.Bucket = "revisions"

// book is what is kept of the revisions of one service.
type book struct {
	Memory    string          `json:"memory"` // policy.RevisionMemory
	Revisions []*bookRevision `json:"revisions"`
}

type bookRevision struct {
	Number    int                  `json:"number"`
	Digest    string               `json:"digest"`
	Spec      *spec.Service        `json:"spec"`
	CreatedAt time.Time            `json:"created_at"`
	By        string               `json:"by"`
	Change    string               `json:"change"` // from the one before: names, no values
	Reason    string               `json:"reason"` // why it was left
	Verdict   policy.Verdict       `json:"verdict"`
	State     policy.RevisionState `json:"state"`
}

func (b *book) find(number int) *bookRevision {
	if i := slices.IndexFunc(b.Revisions, func(r *bookRevision) bool { return r.Number == number }); i >= 0 {
		return b.Revisions[i]
	}
	return nil
}

// books is what the loop knows of them.
type books struct {
	by      map[string]*book  // by service
	writing map[string]int    // by service: writes that what is to follow waits for
	asked   map[string]string // by service: who asked for what is being stepped
}

const (
	// readPatience and writePatience bound what a sick disk may cost: without a
	// history the services still run, and a verdict that cannot be kept holds for
	// as long as the keeper lives.
	readPatience  = 5 * time.Second
	writePatience = 2 * time.Second
)

// readBooks reads what is kept; the loop does not run yet.
func (s *Supervisor) readBooks() {
	s.books = books{by: storedBooks(s.journal, s.log), writing: map[string]int{}}
}

// AskedDigests is by service the digest of the revision that its specification
// asked for last.
func AskedDigests(j *journal.Journal, log *slog.Logger) map[string]string {
	asked := map[string]string{}
	for name, b := range storedBooks(j, log) {
		w, err := policy.ParseRevisionMemory(b.Memory)
		if err != nil {
			continue
		}
		n := w.Asked
		if n == 0 {
			n = w.Current
		}
		if r := b.find(n); r != nil {
			asked[name] = r.Digest
		}
	}
	return asked
}

func storedBooks(j *journal.Journal, log *slog.Logger) map[string]*book {
	by := map[string]*book{}
	type answer struct {
		list []journal.Change
		err  error
	}
	done := make(chan answer, 1)
	go func() {
		list, err := j.List(bucketRevisions)
		done <- answer{list, err}
	}()
	var list []journal.Change
	select {
	case a := <-done:
		if list = a.list; a.err != nil {
			log.Warn("cannot read what revisions there were: begun anew", "err", a.err)
		}
	case <-time.After(readPatience):
		log.Error("cannot read what revisions there were: the disk does not answer")
	}
	for _, c := range list {
		b := &book{}
		if err := json.Unmarshal(c.Value, b); err != nil {
			log.Warn("cannot read the revisions of a service: begun anew", "service", c.Key, "err", err)
			continue
		}
		by[c.Key] = b
	}
	return by
}

// pastRevisions adds to what the keeper remembers what is on disk: of a boot, all;
// else what each revision runs with.
func (s *Supervisor) pastRevisions(past *policy.Past) {
	known := map[string]policy.RevisionMemory{}
	maps.Copy(known, past.Revisions)
	for name, b := range s.books.by {
		w, ok := known[name]
		if !ok {
			var err error
			if w, err = policy.ParseRevisionMemory(b.Memory); err != nil {
				s.log.Warn("cannot read the revisions of a service: begun anew", "service", name, "err", err)
				continue
			}
			if svc := s.cfg.Spec.Service(name); w.Until > 0 && svc != nil && len(past.Slots) == 0 {
				// Times do not hold over a boot: the probation begins again.
				w.Until = s.clock.now().Add(svc.Update.Probation)
			}
		}
		for i := range w.Known {
			if r := b.find(w.Known[i].Number); r != nil && r.Digest == w.Known[i].Digest {
				w.Known[i].Spec = r.Spec
			}
		}
		known[name] = w
	}
	past.Revisions = known
}

// keepBooks brings the books of these services up to date and writes those that
// have changed. before: what is to follow waits until they are on disk.
func (s *Supervisor) keepBooks(names []string, before bool) {
	var changes []journal.Change
	for _, name := range names {
		b, changed := s.bookOf(name)
		if !changed {
			continue
		}
		v, err := json.Marshal(b)
		if err != nil {
			s.log.Error("cannot encode the revisions of a service", "service", name, "err", err)
			continue
		}
		changes = append(changes, journal.Change{Bucket: bucketRevisions, Key: name, Value: v})
	}
	if len(changes) == 0 {
		return
	}
	fault("before-book")
	done := func(error) {} // the journal says what is wrong with the disk
	if before {
		letGo := s.holdBack(names)
		late := time.AfterFunc(writePatience, func() {
			s.box.put(func() {
				if letGo() {
					s.log.Error("the disk does not take what became of a revision: going on without; a boot may not know of it")
				}
			})
		})
		done = func(error) {
			late.Stop()
			fault("book-written")
			s.box.put(func() { letGo() })
		}
	}
	s.journal.Write(changes, done)
	s.collect()
	s.collectSnapshots()
}

// collect has releases removed that nobody runs or goes back to.
func (s *Supervisor) collect() {
	if s.cfg.Releases == nil {
		return
	}
	var keep []string
	for name := range s.books.by {
		svc := s.machine.Spec(name)
		for i, v := range s.machine.Revisions(name) {
			if id := ReleaseOf(v.Digest); id != "" && (svc == nil || svc.Release == nil || i < max(svc.Release.Keep, 2) || v.State == policy.RevisionGood) {
				keep = append(keep, id)
			}
		}
	}
	for _, in := range s.live {
		keep = append(keep, in.release)
	}
	for _, in := range s.inmates {
		keep = append(keep, in.release)
	}
	c := &s.collecting
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keep, c.wanted = keep, true; !c.running {
		c.running = true
		go s.collectAll()
	}
}

// collecting is the collection of old releases: one at a time, and of those that wait
// meanwhile the last, or one would go by what was to be kept long before.
type collecting struct {
	mu      sync.Mutex
	keep    []string
	wanted  bool
	running bool
}

// next is what is to be kept now; false: that is done.
func (c *collecting) next() (keep []string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	keep, ok = c.keep, c.wanted
	c.keep, c.wanted, c.running = nil, false, ok
	return keep, ok
}

func (s *Supervisor) collectAll() {
	for keep, ok := s.collecting.next(); ok; keep, ok = s.collecting.next() {
		removed, err := s.cfg.Releases.Collect(context.Background(), keep)
		if err != nil {
			s.log.Warn(err.Error())
		}
		if len(removed) > 0 {
			s.log.Info("old releases are removed", "ids", removed)
		}
	}
}

// holdBack has what is to follow of these services wait until letGo is called,
// which says whether it was the first time.
func (s *Supervisor) holdBack(services []string) (letGo func() bool) {
	for _, name := range services {
		s.books.writing[name]++
	}
	waits := true
	return func() bool {
		if !waits {
			return false
		}
		waits = false
		for _, name := range services {
			if s.books.writing[name]--; s.books.writing[name] == 0 {
				delete(s.books.writing, name)
			}
		}
		return true
	}
}

// due takes out of s.then what may leave now. While the book of a service is being
// written, nothing of that service is started, and nobody is told that anything is
// done; other services do not wait for it. What is returned is good until the next
// step.
func (s *Supervisor) due() []policy.Action {
	then := s.then
	s.then = s.then[:0]
	if len(s.books.writing) == 0 {
		return then
	}
	var now []policy.Action
	for _, a := range then {
		waits := true
		switch a.Kind {
		case policy.ActAccepted, policy.ActDone, policy.ActRefused, policy.ActEnd:
		case policy.ActSnapshot, policy.ActRestore:
			waits = s.books.writing[a.Service] > 0
		default:
			svc, _ := s.machine.Slot(a.Ref.Slot)
			waits = svc != nil && s.books.writing[svc.Name] > 0
		}
		if waits {
			s.then = append(s.then, a)
		} else {
			now = append(now, a)
		}
	}
	return now
}

// reasonLost stands for the reason of a revert that the keeper knew of and the disk did
// not yet when the supervisor died.
const reasonLost = "it was reverted; the supervisor ended before it was on disk why"

// bookOf is the book of a service as it is now.
func (s *Supervisor) bookOf(name string) (b *book, changed bool) {
	old := s.books.by[name]
	if old == nil {
		old = &book{}
	}
	list := s.machine.Revisions(name)
	memory := s.machine.RevisionMemory(name)
	if list == nil || memory == old.Memory {
		return old, false
	}
	b = &book{Memory: memory}
	for _, v := range list {
		r := &bookRevision{Number: v.Number, Digest: v.Digest, CreatedAt: time.Now().UTC().Truncate(time.Millisecond), By: s.books.asked[name]}
		if have := old.find(v.Number); have != nil && have.Digest == v.Digest {
			*r = *have
		}
		if v.Spec != nil {
			r.Spec = v.Spec
		}
		r.State, r.Verdict = v.State, v.Verdict
		switch {
		case v.State == policy.RevisionCurrent || v.State == policy.RevisionCandidate:
			r.Reason = "" // why it was left before is past
		case r.Verdict == policy.Bad && r.Reason == "":
			r.Reason = reasonLost
		}
		b.Revisions = append(b.Revisions, r)
	}
	for i, r := range b.Revisions {
		if r.Change == "" && old.find(r.Number) == nil {
			r.Change = "first"
			if i+1 < len(b.Revisions) {
				r.Change = s.changeOf(b.Revisions[i+1], r)
			}
		}
	}
	s.books.by[name] = b
	return b, true
}

// changeOf names what differs between two revisions.
func (s *Supervisor) changeOf(old, r *bookRevision) string {
	if old.Spec == nil || r.Spec == nil {
		return "unknown"
	}
	why := s.cfg.Differs(old.Spec, r.Spec)
	if ReleaseOf(old.Digest) != ReleaseOf(r.Digest) {
		why = append([]string{"release"}, why...)
	}
	if len(why) == 0 {
		why = []string{"what env_file holds"}
	}
	return strings.Join(why, ", ")
}

// releaseMark parts the digest of a revision: what its specification says, and the
// release that it runs.
const releaseMark = "."

// ReleaseOf is the id of the release that a revision runs; "": none.
func ReleaseOf(digest string) string {
	_, id, _ := strings.Cut(digest, releaseMark)
	return id
}

// SpecOf is the part of a digest that is of the specification.
func SpecOf(digest string) string {
	spec, _, _ := strings.Cut(digest, releaseMark)
	return spec
}

// RevisionDigest is the digest of a revision of that specification and release.
func RevisionDigest(spec, release string) string {
	if release == "" {
		return spec
	}
	return spec + releaseMark + release
}

// left notes in the book why a revision was left, and where its data are now.
func (s *Supervisor) left(n *policy.Notice) {
	b := s.books.by[n.Service]
	if b == nil {
		return
	}
	r := b.find(n.Reason.Left())
	switch {
	case r == nil:
	case n.Kind == policy.KindDataRestored && r.Reason != "":
		r.Reason += "; " + n.Reason.String()
	default:
		r.Reason = n.Reason.String()
	}
}

// asks notes who asks for what is stepped next, of one service or of all.
func (s *Supervisor) asks(by string, services ...string) {
	s.books.asked = map[string]string{}
	for _, name := range services {
		s.books.asked[name] = by
	}
}

// RevisionInfo is a revision as history tells it.
type RevisionInfo struct {
	Number    int
	State     policy.RevisionState
	CreatedAt time.Time
	By        string
	Digest    string
	Release   string
	Change    string
	Reason    string
	Snapshot  string // the copy of its data; "": there is none
	Restores  bool   // going back to it puts them back
	Next      bool   // it is what a rollback goes back to
}

// History is the revisions of a service, the newest first; false: there is no such
// service.
func (s *Supervisor) History(ctx context.Context, service string) (list []RevisionInfo, ok bool, err error) {
	err = s.call(ctx, func() {
		views := s.machine.Revisions(service)
		ok = views != nil
		b := s.books.by[service]
		next, restores := s.machine.RollsBackTo(service)
		for _, v := range views {
			i := RevisionInfo{Number: v.Number, State: v.State, Digest: v.Digest, Release: ReleaseOf(v.Digest), Snapshot: v.Snapshot}
			i.Next, i.Restores = v.Number == next, restores
			if b != nil {
				if r := b.find(v.Number); r != nil {
					i.CreatedAt, i.By, i.Change, i.Reason = r.CreatedAt, r.By, r.Change, r.Reason
				}
			}
			list = append(list, i)
		}
	})
	if err != nil {
		return nil, false, err
	}
	slices.SortFunc(list, func(a, b RevisionInfo) int { return b.Number - a.Number })
	return list, ok, nil
}

// PlanRevision is policy's.
func (s *Supervisor) PlanRevision(ctx context.Context, svc *spec.Service, digest string) (p policy.RevisionPlan, err error) {
	err = s.call(ctx, func() { p = s.machine.PlanRevision(svc, digest) })
	return p, err
}

// Deploy makes another revision of one service the one that is to run, and waits
// as Do does.
func (s *Supervisor) Deploy(ctx context.Context, d policy.Deploy, wait bool) (Answer, error) {
	return s.ask(ctx, wait, maxPending, func(id policy.Request) policy.Event {
		d.Request = id
		s.asks(d.By, d.Service)
		fault("before-deploy")
		return d
	})
}
