package supervisor

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"nines/supervisor/journal"
	"nines/supervisor/policy"
)

// Incident is a crash loop of an instance, from when it was declared until
// policy says that it is over. Incidents outlive boots.
type Incident struct {
	Service  string    `json:"service"`
	Instance string    `json:"instance"`
	Cause    string    `json:"cause"` // in words
	Start    time.Time `json:"start"`
	End      time.Time `json:"end,omitzero"`     // zero: it is not over
	Ending   string    `json:"ending,omitempty"` // what ended it, in words
}

// bucketIncidents keeps incidents, by their key.
const bucketIncidents journal.Bucket = "incidents"

// maxIncidents is how many are kept; the oldest that are over go first.
const maxIncidents = 1000

// key orders incidents by their beginning.
func (i *Incident) key() string { return fmt.Sprintf("%020d %s", i.Start.UnixNano(), i.Instance) }

// incidents is what the loop knows of them: those that are open, those that are
// not on disk yet, and until the disk was read, which instances are in a loop.
type incidents struct {
	open    map[string]*Incident // by instance
	unsaved map[string]*Incident // by key
	writing bool
	loops   map[string]bool     // by instance; as the past and policy's words since say
	ended   map[string]Incident // by instance: its end alone, of one that began before us
	read    bool
}

func newIncidents(past *Past) incidents {
	in := incidents{
		open: map[string]*Incident{}, unsaved: map[string]*Incident{},
		loops: map[string]bool{}, ended: map[string]Incident{},
	}
	for id, m := range past.Slots {
		in.loops[id] = m.Loops()
	}
	return in
}

// noticed books what policy says of crash loops.
func (s *Supervisor) noticed(e *journal.Entry) {
	in := &s.incidents
	switch e.Kind {
	case policy.KindCrashLoop:
		i := &Incident{Service: e.Service, Instance: e.Instance, Cause: e.Reason.String(), Start: e.Time.UTC()}
		in.open[e.Instance], in.loops[e.Instance] = i, true
		in.unsaved[i.key()] = i
	case policy.KindRecovered:
		end := Incident{End: e.Time.UTC(), Ending: e.Reason.String()}
		if i := in.open[e.Instance]; i != nil {
			s.endIncident(i, end)
		} else if !in.read {
			in.ended[e.Instance] = end
		}
		delete(in.loops, e.Instance)
	default:
		return
	}
	s.saveIncidents(nil)
}

func (s *Supervisor) endIncident(i *Incident, end Incident) {
	over := *i // a reader may hold the other
	over.End, over.Ending = end.End, end.Ending
	delete(s.incidents.open, i.Instance)
	s.incidents.unsaved[over.key()] = &over
}

// readIncidents takes up what earlier supervisors left open. It reads the disk,
// and so the loop does not wait for it.
func (s *Supervisor) readIncidents() {
	list, err := s.storedIncidents()
	s.box.put(func() { s.tookIncidents(list, err) })
}

func (s *Supervisor) tookIncidents(list []Incident, err error) {
	in := &s.incidents
	in.read = true
	if err != nil {
		return // the journal says what is wrong with the disk; those that were open stay so
	}
	now := time.Now().UTC()
	for n := range list {
		i := &list[n]
		own := in.open[i.Instance]
		if _, ours := in.unsaved[i.key()]; ours || !i.End.IsZero() || own != nil && own.key() == i.key() {
			continue
		}
		end, told := in.ended[i.Instance]
		switch {
		case told:
			s.endIncident(i, end)
		case in.loops[i.Instance] && own == nil:
			in.open[i.Instance] = i
		default: // a boot lies between, or the end was not written
			s.endIncident(i, Incident{End: now, Ending: "it was over when nines began anew"})
			if own != nil {
				in.open[i.Instance] = own
			}
		}
	}
	in.ended = nil
	var drop []journal.Change
	for n := range list {
		if i := &list[n]; len(list)-len(drop) > maxIncidents && !i.End.IsZero() {
			drop = append(drop, journal.Change{Bucket: bucketIncidents, Key: i.key()})
		}
	}
	s.saveIncidents(drop)
}

// saveIncidents writes what is not on disk yet. What cannot be written is tried
// again with the next one; the journal says why.
func (s *Supervisor) saveIncidents(changes []journal.Change) {
	in := &s.incidents
	if in.writing || len(in.unsaved)+len(changes) == 0 {
		return
	}
	if len(in.unsaved) > maxIncidents { // the disk is broken
		for _, k := range slices.Sorted(maps.Keys(in.unsaved))[:len(in.unsaved)-maxIncidents] {
			delete(in.unsaved, k)
		}
	}
	sent := make(map[string]*Incident, len(in.unsaved))
	for k, i := range in.unsaved {
		b, err := json.Marshal(i)
		if err != nil {
			s.log.Error("cannot encode an incident", "instance", i.Instance, "err", err)
			delete(in.unsaved, k)
			continue
		}
		sent[k] = i
		changes = append(changes, journal.Change{Bucket: bucketIncidents, Key: k, Value: b})
	}
	in.writing = true
	s.journal.Write(changes, func(err error) {
		s.box.put(func() {
			in.writing = false
			if err != nil {
				return
			}
			for k, i := range sent {
				if in.unsaved[k] == i {
					delete(in.unsaved, k)
				}
			}
			s.saveIncidents(nil) // what came meanwhile
		})
	})
}

// storedIncidents reads what is on disk, the oldest first.
func (s *Supervisor) storedIncidents() ([]Incident, error) {
	records, err := s.journal.List(bucketIncidents)
	if err != nil {
		return nil, err
	}
	list := make([]Incident, 0, len(records))
	for _, r := range records {
		var i Incident
		if err := json.Unmarshal(r.Value, &i); err != nil || i.key() != r.Key {
			s.log.Warn("cannot read an incident: it is passed over", "key", r.Key, "err", err)
			continue
		}
		list = append(list, i)
	}
	return list, nil
}

// Incidents returns those of a service, the oldest first. It reads the disk, and
// where that cannot be read, what memory has.
func (s *Supervisor) Incidents(ctx context.Context, service string) ([]Incident, error) {
	byKey := map[string]Incident{}
	list, err := s.storedIncidents()
	if err == nil { // else the journal says what is wrong with the disk
		for _, i := range list {
			byKey[i.key()] = i
		}
	}
	if err := s.call(ctx, func() {
		for _, i := range s.incidents.open {
			byKey[i.key()] = *i
		}
		for k, i := range s.incidents.unsaved {
			byKey[k] = *i
		}
	}); err != nil {
		return nil, err
	}
	list = list[:0]
	for _, i := range byKey {
		if i.Service == service {
			list = append(list, i)
		}
	}
	slices.SortFunc(list, func(a, b Incident) int { return strings.Compare(a.key(), b.key()) })
	return list, nil
}
