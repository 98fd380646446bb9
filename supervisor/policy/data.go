package policy

import (
	"strings"
	"time"

	"nines/spec"
)

// data is how the data of a service stand to the revision that it is to run. Where
// they are of another, nothing of it lives until they have been kept, or put back:
//
//	of = 0                              they are of the current revision
//	of != 0, forward                    ActSnapshot keeps them as those of `of`, then of = 0
//	of != 0, back                       ActRestore puts those of the current revision back, then of = 0
//	restoring != 0                      a restore has begun, maybe of a revision that is no longer the
//	                                    current one: it is ended before anything else
//
// All of it but what is in flight outlives the supervisor, and a boot.
type data struct {
	of        int    // the revision that they belong to; 0: the current one
	back      bool   // the current revision is gone back to
	restoring int    // whose data a restore that has begun puts back; 0: there is none
	snapshot  string // … and from what; "": its on_revert command alone does
	aside     string // … and the label of what is moved aside
	count     int    // of restores, so that each has a label of its own
	untried   int    // a revision that was given up, since the data could not be kept; 0: none

	token  uint64 // of what is in flight; 0: nothing
	taking int    // the revision whose data are being kept
	failed string // why that failed last; it is tried again
	told   string // … as was said last
}

// defaultDataTimeout bounds what has to do with data where update.deadline is 0.
const defaultDataTimeout = 5 * time.Minute

// dataRetry is after how long a restore that failed is tried again, where
// restart.max_delay does not say.
const dataRetry = 30 * time.Second

// DataDone answers ActSnapshot and ActRestore.
type DataDone struct {
	Service string
	Token   uint64
	OK      bool
	// Snapshot is what ActSnapshot made; the machine only carries it.
	Snapshot string
	// Begun, of a restore that failed: it may have changed something, so it must be
	// ended before anything is started.
	Begun bool
	Text  string // what was done, in plain words
	Cause string // why it failed
}

func (DataDone) event() {}

// dataHolds says whether the data of v are such that nothing of it may live.
func (v *service) dataHolds() bool {
	d := &v.data
	return d.of != 0 && v.file.Data != nil || d.restoring != 0 || d.token != 0
}

// mayRun says whether s is to run the revision that the data are of. Where there are
// none, two revisions may run side by side.
func (s *slot) mayRun() bool { return s.svc.file.Data == nil || s.target == s.svc.revision }

// moveData: v is to run another revision than left, or back: goes back to it.
func (m *Machine) moveData(v *service, left int, back bool) {
	d := &v.data
	if d.failed != "" {
		d.failed = ""
		m.disarmData(v)
	}
	d.untried, d.told = 0, ""
	if v.file.Data == nil && d.restoring == 0 {
		d.of, d.back = 0, false
		return
	}
	if d.of == 0 {
		d.of = left
	}
	d.back = back
	if d.of == v.revision && d.restoring == 0 {
		d.of, d.back = 0, false // nothing else has run on them
	}
}

// dataAgain: a person, or another specification, has what failed tried again.
func (m *Machine) dataAgain(v *service) {
	d := &v.data
	if v.file.Data == nil && d.restoring == 0 && d.of != 0 {
		d.of, d.back = 0, false
		m.recordRevision(v)
		m.touchAll(v)
	}
	if d.failed != "" {
		d.failed = ""
		m.disarmData(v)
		m.touchAll(v)
	}
	if v.roll.on() {
		m.markRoll(v)
	}
}

// progressData ends all of v, and then has its data kept or put back.
func (m *Machine) progressData(v *service) {
	quiet := true
	for _, s := range v.slots {
		m.disarm(s, timerUpdate)
		m.disarm(s, timerHealthy)
		if !m.endForData(s) || s.twin != nil && !m.endForData(s.twin) {
			quiet = false
		}
	}
	d := &v.data
	switch {
	case !quiet || d.token != 0 || d.failed != "":
	case d.restoring != 0 || d.back:
		m.restoreData(v)
	default:
		m.keepData(v)
	}
	m.boundData(v)
}

// boundData sets when what failed is tried again, and how long the answer of a
// snapshot may take.
func (m *Machine) boundData(v *service) {
	d := &v.data
	if len(v.slots) == 0 {
		m.newSlot(v, 0) // scaled to 0: deadlines are kept at a slot
	}
	if v.slots[0].timers[timerData] != never {
		return
	}
	switch {
	case d.failed != "":
		retry := v.spec.Restart.MaxDelay
		if retry <= 0 {
			retry = dataRetry
		}
		m.arm(v.slots[0], timerData, retry)
	case d.token != 0 && d.restoring == 0:
		m.arm(v.slots[0], timerData, 2*(v.dataTimeout()+m.cfg.KillPatience))
	}
}

// endForData says whether nothing of s lives, and else ends it. What must go for
// another reason goes in the order of that.
func (m *Machine) endForData(s *slot) bool {
	for _, f := range s.inmates {
		m.endInmate(f, m.whyData(s.svc))
	}
	switch s.phase {
	case phaseSpawning, phaseStarting, phaseReady:
		if d := m.desired(s); s.end == endNone && (d == wantRun || d == wantYield) {
			m.forget(s)
			s.restarts, s.auto = 0, false
			m.notice(KindRestarting, s, m.whyData(s.svc))
			m.stop(s, endStop, m.whyData(s.svc))
		}
	}
	return !s.phase.lives() && len(s.inmates) == 0
}

// dataTimeout bounds a command, and the copying, each.
func (v *service) dataTimeout() time.Duration {
	if d := v.spec.Update.Deadline; d > 0 {
		return d
	}
	return defaultDataTimeout
}

func (m *Machine) dataToken() uint64 {
	m.tokens++
	return m.tokens<<32 | 1<<32 - 1 // no slot's
}

// keepData has a snapshot taken.
func (m *Machine) keepData(v *service) {
	d := &v.data
	d.token, d.taking = m.dataToken(), d.of
	m.then(Action{Kind: ActSnapshot, Service: v.spec.Name, Revision: d.of, Token: d.token, Timeout: v.dataTimeout()})
	m.touchAll(v)
}

// restoreData has the data of the current revision put back, or goes on with a
// restore that has begun.
func (m *Machine) restoreData(v *service) {
	d := &v.data
	if d.restoring == 0 {
		if !v.putsBack() || bug == 32 {
			d.of, d.back = 0, false // they stay as they are, as the rollback said
			m.recordRevision(v)
			m.touchAll(v)
			m.markRoll(v)
			return
		}
		r := v.find(v.revision)
		if v.file.Data.Restore && r.Snapshot == "" {
			m.dataFailed(v, "there is no copy of them")
			return
		}
		d.restoring, d.snapshot = v.revision, ""
		if v.file.Data.Restore {
			d.snapshot = r.Snapshot
		}
		d.count++
		d.aside = "revision-" + itoa(int32(d.of)) + "-" + itoa(int32(d.count))
		m.recordRevision(v)
	}
	d.token = m.dataToken()
	m.then(Action{
		Kind: ActRestore, Service: v.spec.Name, Revision: d.restoring, Token: d.token, Timeout: v.dataTimeout(),
		Snapshot: d.snapshot, Label: d.aside,
	})
	m.touchAll(v)
}

// putsBack says whether going back does anything to the data.
func (v *service) putsBack() bool {
	return v.file.Data != nil && (v.file.Data.Restore || len(v.file.Data.OnRevert) > 0)
}

// hasData says whether the data that r would need can be had.
func (v *service) hasData(r *Revision) bool {
	of := v.data.of
	switch {
	case v.data.restoring != 0 && r.Number == of:
		return v.file.Data == nil || !v.file.Data.Restore // they are being moved aside
	case v.data.restoring != 0:
		of = v.data.restoring // when that is done
	case of == 0:
		of = v.revision
	}
	return v.file.Data == nil || !v.file.Data.Restore || r.Snapshot != "" || r.Number == of
}

// undoesData says whether the apply under way goes back to r as a rollback does.
func (m *Machine) undoesData(v *service, r *Revision) bool {
	return m.undoing && r != nil && v.putsBack() && v.hasData(r)
}

// dataDone takes the answer of what is in flight.
func (m *Machine) dataDone(e DataDone) {
	v := m.named(e.Service, true)
	if v == nil || e.Token == 0 || v.data.token != e.Token {
		return // late or doubled
	}
	v.data.token = 0
	m.disarmData(v)
	if v.data.restoring != 0 {
		m.dataRestored(v, e)
	} else {
		m.dataKept(v, e)
	}
	m.recordRevision(v)
	m.touchAll(v)
	m.markRoll(v)
}

func (m *Machine) dataKept(v *service, e DataDone) {
	d := &v.data
	taken := d.taking
	d.taking = 0
	switch {
	case e.OK:
		if r := v.find(taken); r != nil {
			r.Snapshot = e.Snapshot
		}
		m.serviceNotice(KindDataSnapshot, v, Reason{kind: whyDataKept, count: int32(taken), text: e.Text})
		if d.of == taken && !d.back {
			d.of = 0
		}
	case d.of != taken || d.back || v.removed || m.down.on: // nobody wants that any more
	case v.find(taken).Verdict == Bad:
		m.dataFailed(v, e.Cause) // that must not come back
	default:
		m.giveUpUpdate(v, e.Cause)
	}
}

// giveUpUpdate: the data could not be kept, so the revision that they are of comes
// back, and the one that was to be tried is as it was: nobody can say that it is bad.
func (m *Machine) giveUpUpdate(v *service, why string) {
	to, untried := v.data.of, v.revision
	if r := v.find(untried); r.Verdict == Unproven {
		r.Verdict = Superseded
	}
	m.returnTo(v, to, KindDataFailed, Reason{kind: whyNotKept, count: int32(untried), code: int32(to), text: why})
	v.data.untried = untried
}

func (m *Machine) dataRestored(v *service, e DataDone) {
	d := &v.data
	if !e.OK {
		if !e.Begun {
			to := d.restoring
			d.restoring, d.snapshot, d.aside = 0, "", ""
			if d.of == v.revision {
				d.of, d.back = 0, false // it is to run again what they are still of
			}
			if to != v.revision || v.file.Data == nil {
				m.dataAgain(v) // nobody wants that any more
				return
			}
		}
		m.dataFailed(v, e.Cause)
		return
	}
	left, to := d.of, d.restoring
	if r := v.find(left); r != nil && left != to && d.snapshot != "" {
		r.Snapshot = "" // what it had made of them since is what was moved aside
	}
	m.serviceNotice(KindDataRestored, v, Reason{kind: whyDataBack, count: int32(left), code: int32(to), text: e.Text})
	d.restoring, d.snapshot, d.aside, d.of = 0, "", "", 0
	if to == v.revision || v.file.Data == nil {
		d.back = false
	} else {
		d.of = to // another revision is wanted meanwhile
	}
}

// dataFailed: the data of the revision that is gone back to are not there, or those of
// a bad one cannot be kept. Nothing is started on them; that is tried again, and
// whoever waits is told.
func (m *Machine) dataFailed(v *service, why string) {
	d := &v.data
	d.failed = why
	said := m.whyData(v)
	if d.told != why {
		d.told = why
		m.serviceNotice(KindDataFailed, v, said)
	}
	m.touchAll(v)
	if v.awaited == awaitUp {
		m.awaitedFailed(v, v.spec.Name+": "+said.String())
	}
	m.failAll(v, said.String(), func(o *operation) bool { return rises(o) || o.deploys() })
}

// dataDue: an answer has been lost, or what failed is tried again.
func (m *Machine) dataDue(v *service) {
	if d := &v.data; d.token != 0 && d.restoring == 0 {
		m.dataDone(DataDone{Service: v.spec.Name, Token: d.token, Cause: "there was no answer in time"})
		return
	}
	m.dataAgain(v)
}

func (m *Machine) disarmData(v *service) {
	for _, s := range v.slots {
		m.disarm(s, timerData)
	}
}

// whyData says why nothing of v is started.
func (m *Machine) whyData(v *service) Reason {
	d := &v.data
	to := v.revision
	if d.restoring != 0 {
		to = d.restoring
	}
	r := Reason{kind: whyDataKeeps, count: int32(d.of), code: int32(to), over: d.restoring != 0}
	switch {
	case d.failed != "" && d.restoring == 0 && !d.back:
		r.kind, r.name, r.text = whyKeepFails, v.spec.Name, d.failed
	case d.failed != "":
		r.kind, r.name, r.text = whyNotBack, v.spec.Name, d.failed
	case d.restoring != 0 || d.back:
		r.kind = whyDataReturns
	}
	return r
}

// dataWords words what whyData and the events of data say.
func (r Reason) dataWords() string {
	of, to := "revision "+itoa(r.count), "revision "+itoa(r.code)
	switch r.kind {
	case whyDataKeeps:
		return "its data are kept as those of " + of + " before " + to + " is started"
	case whyDataReturns:
		return "its data are put back to those of " + to + " before that is started"
	case whyDataKept:
		return "the data of " + of + " are kept" + colonText(r.text)
	case whyDataBack:
		return "the data of " + to + " are back" + colonText(r.text)
	case whyKeepFails:
		return "held: the data of " + of + " could not be kept before " + to + " is started: " + r.text + "; mend that (nines start " + r.name + " tries at once)"
	case whyNotKept:
		return to + " comes back and " + of + " was not tried: its data could not be kept: " + r.text
	}
	remedy := "mend that (nines start " + r.name + " tries at once), deploy a revision that can use the data as they are, or write restore = false to run " + to + " on them as they are"
	if r.over {
		remedy = "it has begun and must be ended first: mend that (nines start " + r.name + " tries at once)"
	}
	return "held: the data of " + to + " could not be put back: " + strings.TrimSuffix(r.text, ".") + "; " + remedy
}

func colonText(s string) string {
	if s == "" {
		return ""
	}
	return ": " + s
}

// dataStays says of a rollback that it does nothing to the data.
func (r Reason) dataStays() string {
	if !r.over {
		return ""
	}
	return "; its data stay as they are (restore = false)"
}

// Revision is what a revision of a service runs with, and its digest; nil, "": it is
// not known.
func (m *Machine) Revision(service string, number int) (*spec.Service, string) {
	v := m.byName[service]
	if v == nil {
		return nil, ""
	}
	r := v.find(number)
	if r == nil {
		return nil, ""
	}
	return v.runs(number), r.Digest
}

// Snapshots are the copies of the data of a service that may be needed: of the newest
// keep revisions, of those that are good, and of a restore that has begun.
func (m *Machine) Snapshots(service string, keep int) (ids []string) {
	v := m.byName[service]
	if v == nil {
		return nil
	}
	for i, r := range v.known {
		if r.Snapshot != "" && (i < keep || r.Verdict == Good) {
			ids = append(ids, r.Snapshot)
		}
	}
	if v.data.snapshot != "" {
		ids = append(ids, v.data.snapshot)
	}
	return ids
}

// RollsBackTo is the revision that a rollback, or a revert, of a service would bring
// back, and whether going back puts back data; 0: there is none.
func (m *Machine) RollsBackTo(service string) (number int, restores bool) {
	v := m.byName[service]
	if v == nil {
		return 0, false
	}
	return v.revertsTo(), v.file.Data != nil && v.file.Data.Restore
}

// DataMove is what an apply would do with the data of a service.
type DataMove struct {
	Keeps bool // a copy is taken, while nothing of the service lives
	Back  int  // the data of that revision are put back; 0: none are
}

// PlanData says what an apply of that specification of a service would do with its data.
func (m *Machine) PlanData(sp *spec.Service, digest string) DataMove {
	v := m.byName[sp.Name]
	if v == nil || sp.Data == nil {
		return DataMove{}
	}
	r := v.findDigest(digest)
	switch {
	case r == nil:
	case r.Number == v.revision, r.Verdict == Bad, r.Number == v.asked && r.Number != v.data.untried:
		return DataMove{} // it brings no update
	case v.roll.forward() && r.Number == v.roll.from:
		if sp.Data.Restore && v.data.of != r.Number {
			return DataMove{Back: r.Number}
		}
		return DataMove{}
	}
	return DataMove{Keeps: true}
}
