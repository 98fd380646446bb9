package supervisor

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"nines/spec"
	"nines/supervisor/notify"
	"nines/supervisor/policy"
)

// TestPast: what the machine records is what the next supervisor is handed.
func TestPast(t *testing.T) {
	services := []*spec.Service{
		{Name: "web", Type: spec.TypeService, Instances: 2, Enabled: true},
		{Name: "off", Type: spec.TypeService, Instances: 1},
		{Name: "db", Type: spec.TypeService, Instances: 1, Enabled: true},
	}
	m := policy.New(policy.Config{})
	values, stopping := map[string]string{}, 0
	keep := func(records []policy.Record) {
		for _, msg := range encode(records, nil) {
			if len(msg) > notify.MaxMessage {
				t.Errorf("a message of %d bytes", len(msg))
			}
			for line := range strings.Lines(string(msg)) {
				line, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), notify.KeyValue+"=")
				if line == notify.KeyStopping+"=1" {
					stopping++ // beside the shutdown's record
					continue
				}
				key, value, _ := strings.Cut(line, " ")
				if values[key] = value; value == "" {
					delete(values, key)
				}
				if !ok {
					t.Errorf("%q is no value", line)
				}
			}
		}
	}
	step := func(ev policy.Event) { keep(m.Step(policy.Time(time.Hour), ev).Records) }
	step(policy.SpecChanged{Spec: &spec.Spec{Services: services}, Number: 1})
	step(policy.SpecChanged{Spec: &spec.Spec{Services: services}, Digests: map[string]string{"db": "d"}, Number: 2})
	step(policy.Spawned{Ref: policy.Ref{Slot: 1, Incarnation: 1}, PID: 7})
	step(policy.Command{Request: 1, Verb: policy.VerbStart, Service: "off", Instance: -1})
	step(policy.Command{Request: 2, Verb: policy.VerbStop, Service: "db", Instance: -1})
	step(policy.Command{Request: 3, Verb: policy.VerbScale, Service: "web", Instances: 1})
	step(policy.Exited{Ref: policy.Ref{Slot: 1, Incarnation: 1}, Empty: true})
	keep([]policy.Record{{Kind: policy.RecordGroup, ID: "app", Value: 5}, {Kind: policy.RecordGroup, ID: "gone", Value: 5}, {Kind: policy.RecordGroup, ID: "gone"}})
	step(policy.Shutdown{Code: 3, Cause: "SIGTERM", Action: "reboot"})
	if stopping != 1 {
		t.Errorf("the keeper was told %d times that we stop", stopping)
	}
	if _, is := values["slot:web/1"]; is {
		t.Errorf("what is no more is kept: %v", values)
	}
	if !strings.HasPrefix(values["slot:web/0"], "1 spawning 1 ") {
		t.Errorf("web/0 is kept as %q", values["slot:web/0"])
	}
	inmate := policy.InmateMemory{Incarnation: 9, PID: 4242, Start: 88, Since: 5, Expires: 6, Memory: 7, Ending: true, Why: "deaf as a post"}
	values[keyInmate+"web/0.9"] = string(inmate.Append(nil))
	got, err := ReadPast(values)
	if err != nil {
		t.Fatal(err)
	}
	if w := got.Slots["web/0"]; len(got.Slots) != 3 || w.Phase != "killing" && w.Phase != "spawning" || w.Incarnation != 1 || w.End != "stop" {
		t.Errorf("the slots are %+v", got.Slots)
	}
	got.Slots = nil
	want := policy.Past{
		Incarnations: map[string]uint64{"web": 1},
		Stopped:      map[string]bool{"db": true},
		Started:      map[string]bool{"off": true},
		Scale:        map[string]int{"web": 1},
		Groups:       map[string]int64{"app": 5},
		Inmates:      map[string]policy.InmateMemory{"web/0.9": inmate},
		Shutdown:     got.Shutdown,
		Revisions:    map[string]policy.RevisionMemory{"db": {Current: 2, Top: 2, From: 1, Known: []policy.Revision{{Number: 2, Digest: "d", Verdict: policy.Good}, {Number: 1}}}},
	}
	if got.Applied != 2 {
		t.Errorf("the applied spec is number %d", got.Applied)
	}
	if !reflect.DeepEqual(got.Past, want) {
		t.Errorf("got  %+v\nwant %+v", got.Past, want)
	}
	if sd := got.Shutdown; sd == nil || sd.Code != 3 || sd.Action != "reboot" || sd.Deadline != policy.Time(time.Hour+time.Minute) {
		t.Errorf("the shutdown is %+v", sd)
	}
	values["slot:bad/0"], values["what"] = "2 ready 1", "1"
	got, err = ReadPast(values)
	if err == nil || !strings.Contains(err.Error(), "slot:bad/0") || !strings.Contains(err.Error(), "what") || len(got.Slots) != 3 {
		t.Errorf("%d slots, %v", len(got.Slots), err)
	}
}
