package diff

import (
	"testing"
	"time"

	"nines/spec"
)

// TestRunningIsTheTable: what spec.Service.Running takes from the other is what makes a
// revision, and nothing else.
func TestRunningIsTheTable(t *testing.T) {
	nice := 5
	file := &spec.Service{Name: "web", Type: spec.TypeService, Instances: 2, Enabled: true, Update: spec.Update{Canary: 1}, Release: &spec.Release{Path: "/a", Keep: 5}}
	as := &spec.Service{
		Name: "web", Type: spec.TypeTask, Mode: spec.ActivePassive, Instances: 7, Needs: []string{"x"}, After: []string{"y"}, Essential: true,
		AvailableAtLeast: 3, AvailableSet: true, StartTimeout: time.Second, Stop: spec.Stop{Signal: "SIGINT"}, Reload: &spec.Reload{Signal: "SIGHUP"},
		Restart: spec.Restart{Factor: 3}, CrashLoop: spec.CrashLoop{Failures: 9}, Recycle: &spec.Recycle{MaxAge: time.Hour}, SLO: 99.9,
		Ready: &spec.Ready{Delay: time.Second}, Checks: []spec.Check{{Name: "c"}}, Update: spec.Update{Canary: 4}, Standby: &spec.Standby{Kind: "warm"},
		Isolate: &spec.Isolate{Keep: 2}, Log: spec.Log{Keep: 3, Streams: "split"}, Data: &spec.Data{Restore: true},
		Process: spec.Process{
			Command: `["b"]`, User: "u", Group: "g", Groups: []string{"h"}, Directory: `"/d"`, Umask: new(uint32), Nice: &nice, OOMScoreAdj: &nice,
			Env: `{A="1"}`, EnvFile: `"/e"`, InheritEnv: new(bool), Rlimits: []spec.Rlimit{{Name: "nofile"}},
		},
		Limits: spec.Limits{
			Memory: &spec.Memory{Max: spec.Size{Bytes: 1}}, CPU: &spec.CPU{Max: 1}, Pids: &spec.Pids{Max: 1}, IO: &spec.IO{Weight: 1},
		},
		Sandbox: &spec.Sandbox{PrivateTmp: true}, Listen: []spec.Listen{{Name: "l"}}, Ports: []spec.Port{{Name: "p"}},
		Release: &spec.Release{Path: "/b", Watch: true, Keep: 9},
	}
	got := file.Running(as)
	for _, a := range attributes() {
		want := file
		if a.revision {
			want = as
		}
		if text(a.value(file)) == text(a.value(as)) {
			t.Errorf("%s does not differ: the test says nothing of it", a.name)
		}
		if text(a.value(got)) != text(a.value(want)) {
			t.Errorf("%s is %s, want %s", a.name, text(a.value(got)), text(a.value(want)))
		}
	}
	if file.Running(nil) != file || file.Running(file) != file {
		t.Error("nothing to take makes another")
	}
}

func TestStartFirst(t *testing.T) {
	with := func(order string, change func(*spec.Service)) *spec.Service {
		s := &spec.Service{Type: spec.TypeService, Update: spec.Update{Order: order}}
		change(s)
		return s
	}
	none := func(*spec.Service) {}
	listen := func(s *spec.Service) { s.Listen = []spec.Listen{{}} }
	for name, row := range map[string]struct {
		s    *spec.Service
		want bool
	}{
		"nobody knows its addresses": {with("auto", none), false},
		"a kept socket":              {with("auto", listen), true},
		"asked for":                  {with("start-first", none), true},
		"asked against":              {with("stop-first", listen), false},
		"a port of its own":          {with("start-first", func(s *spec.Service) { s.Ports = []spec.Port{{}} }), false},
		"data":                       {with("start-first", func(s *spec.Service) { s.Data = &spec.Data{} }), false},
		"one active":                 {with("start-first", func(s *spec.Service) { s.Mode = spec.ActivePassive }), false},
		"a task":                     {with("start-first", func(s *spec.Service) { s.Type = spec.TypeTask }), false},
	} {
		if got := row.s.StartFirst(); got != row.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
