package diff

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"nines/spec"
)

func service(name string, change ...func(*spec.Service)) *spec.Service {
	s := &spec.Service{Name: name, Type: spec.TypeService, Enabled: true, Instances: 1, Process: spec.Process{Command: `["x"]`}}
	for _, f := range change {
		f(s)
	}
	return s
}

func side(services ...*spec.Service) Side {
	d := Side{Spec: &spec.Spec{Services: services}, Digests: map[string]string{}}
	for _, s := range services {
		d.Digests[s.Name] = Digest(s, "")
	}
	return d
}

func TestServices(t *testing.T) {
	plain := func(*spec.Service) {}
	command := func(s *spec.Service) { s.Process.Command = `["y"]` }
	env := func(s *spec.Service) { s.Process.Env = `{"A"="secret"}` }
	two := func(s *spec.Service) { s.Instances = 2 }
	none := func(s *spec.Service) { s.Instances = 0 }
	off := func(s *spec.Service) { s.Enabled = false }
	delay := func(s *spec.Service) { s.Restart.Delay = time.Second }
	for _, tc := range []struct {
		name        string
		from, to    func(*spec.Service) // nil: it is not there
		action      Action
		why         string
		n           string
		destructive bool
	}{
		{"the same", plain, plain, Nothing, "", "1 1", false},
		{"added", nil, two, Start, "new", "0 2", false},
		{"added and disabled", nil, off, InPlace, "new, disabled", "0 0", false},
		{"removed", two, nil, Stop, "removed", "2 0", true},
		{"another command", plain, command, Restart, "command", "1 1", false},
		{"env", plain, env, Restart, "env", "1 1", false},
		{"more instances", plain, two, InPlace, "instances", "1 2", false},
		{"none any more", two, none, Stop, "instances", "2 0", true},
		{"some again", none, two, Start, "instances", "0 2", false},
		{"none, and another command", none, func(s *spec.Service) { none(s); command(s) }, InPlace, "command", "0 0", false},
		{"disabled", plain, off, Stop, "enabled", "1 0", true},
		{"enabled", off, plain, Start, "enabled", "0 1", false},
		{"disabled, another command", off, func(s *spec.Service) { off(s); command(s) }, InPlace, "command", "0 0", false},
		{"in place", plain, delay, InPlace, "restart", "1 1", false},
		{"log", plain, func(s *spec.Service) { s.Log.Keep = 9 }, InPlace, "log", "1 1", false},
		{"streams", plain, func(s *spec.Service) { s.Log.Keep, s.Log.Streams = 9, "split" }, InPlace, "log log.streams (of each instance from its next start on)", "1 1", false},
		{"streams and command", plain, func(s *spec.Service) { command(s); s.Log.Streams = "split" }, Restart, "command log.streams", "1 1", false},
		{"streams of nothing", none, func(s *spec.Service) { none(s); s.Log.Streams = "split" }, InPlace, "log.streams", "0 0", false},
		{"both", plain, func(s *spec.Service) { delay(s); command(s) }, Restart, "command restart", "1 1", false},
	} {
		var before, after []*spec.Service
		if tc.from != nil {
			before = append(before, service("web", tc.from))
		}
		if tc.to != nil {
			after = append(after, service("web", tc.to))
		}
		got := Services(side(before...), side(after...))
		if len(got) != 1 {
			t.Fatalf("%s: %+v", tc.name, got)
		}
		c := got[0]
		if c.Action != tc.action || strings.Join(c.Why, " ") != tc.why || fmt.Sprint(c.From, c.To) != tc.n || c.Destructive != tc.destructive {
			t.Errorf("%s: %+v", tc.name, c)
		}
	}
}

// TestDerived: what follows from instances by itself is no reason of its own.
func TestDerived(t *testing.T) {
	three := func(s *spec.Service) { s.Instances, s.AvailableAtLeast, s.Update.Canary = 3, 2, 1 }
	none := func(s *spec.Service) { s.Instances, s.Update.Canary = 0, 1 }
	given := func(s *spec.Service) { three(s); s.AvailableSet = true }
	zero := func(s *spec.Service) { given(s); s.AvailableAtLeast = 0 }
	for _, tc := range []struct {
		from, to func(*spec.Service)
		why      string
	}{
		{three, none, "[instances]"},
		{none, three, "[instances]"},
		{three, given, "[available_at_least]"},
		{given, zero, "[available_at_least]"},
		{zero, three, "[available_at_least]"},
	} {
		if c := Services(side(service("web", tc.from)), side(service("web", tc.to)))[0]; fmt.Sprint(c.Why) != tc.why {
			t.Errorf("%v, and not %s", c.Why, tc.why)
		}
	}
}

func TestScaledAndEnvFile(t *testing.T) {
	before, after := side(service("web"), service("job")), side(service("job"), service("web"))
	before.Instances = map[string]int{"web": 3}
	after.Digests["job"] = Digest(after.Spec.Service("job"), "other")
	got := fmt.Sprintf("%+v", Services(before, after))
	want := "[{Service:job Action:restart Why:[what env_file holds] From:1 To:1 Destructive:false} " +
		"{Service:web Action:in_place Why:[instances (it was scaled)] From:3 To:1 Destructive:false}]"
	if got != want {
		t.Errorf("%s", got)
	}
}

// TestEveryFieldCounts changes each field of a service by reflection: whatever a
// service says must have a row in the table, or a change of it would go unseen.
func TestEveryFieldCounts(t *testing.T) {
	// available_at_least without AvailableSet follows from instances (TestDerived).
	unseen := map[string]bool{"Name": true, "Pos": true, "AvailableAtLeast": true}
	var visit func(path string, get func(*spec.Service) reflect.Value, typ reflect.Type)
	visit = func(path string, get func(*spec.Service) reflect.Value, typ reflect.Type) {
		if typ.Kind() == reflect.Struct {
			for i := range typ.NumField() {
				name := strings.TrimPrefix(path+"."+typ.Field(i).Name, ".")
				if !unseen[name] {
					visit(name, func(s *spec.Service) reflect.Value { return get(s).Field(i) }, typ.Field(i).Type)
				}
			}
			return
		}
		a, b := &spec.Service{}, &spec.Service{}
		set(get(b))
		seen := false
		for _, at := range attributes() {
			seen = seen || text(at.value(a)) != text(at.value(b))
		}
		if !seen {
			t.Errorf("%s: a change of it is in no attribute", path)
		}
	}
	visit("", func(s *spec.Service) reflect.Value { return reflect.ValueOf(s).Elem() }, reflect.TypeFor[spec.Service]())
}

// set gives v a value that is not its zero.
func set(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		if v.Elem().Kind() != reflect.Struct {
			set(v.Elem())
		} else if v.Elem().NumField() > 0 && v.Elem().Field(0).Kind() == reflect.String {
			v.Elem().Field(0).SetString("x")
		}
		if v.Type() == reflect.TypeFor[*spec.Release]() {
			v.Elem().FieldByName("Keep").SetInt(3)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float64:
		v.SetFloat(1)
	case reflect.Uint32, reflect.Uint64:
		v.SetUint(1)
	default:
		v.SetInt(1)
	}
}

// TestDigestIsStable: the digest of what people run today must not change with a
// new version, or installing that would restart everything at the next apply.
func TestDigestIsStable(t *testing.T) {
	if got := Digest(service("web"), ""); got != golden {
		t.Errorf("the digest of a plain service is now %s", got)
	}
	if Digest(service("web", func(s *spec.Service) { s.Log.Keep = 9; s.Instances = 7 }), "") != golden {
		t.Errorf("what is in place is part of the digest")
	}
	if Digest(service("web"), "x") == golden {
		t.Errorf("what env_file holds is not part of the digest")
	}
}

func TestSupervisor(t *testing.T) {
	a, b := &spec.Spec{}, &spec.Spec{}
	b.Supervisor = spec.Supervisor{ShutdownTimeout: 1, LogDir: "/x", Control: spec.Control{Mode: 0o600}}
	b.Groups = []spec.Group{{Name: "g"}}
	now, later := Supervisor(a, b)
	if got := fmt.Sprint(now, later); got != "[supervisor.shutdown_timeout group] [supervisor.log_dir supervisor.control]" {
		t.Errorf("%s", got)
	}
}

const golden = "5d2a2aa6bcc9fea38e885669c3c8cc884ed1ab9185300216e61228f419f463e9"
