package supervisor

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"nines/spec"
	"nines/supervisor/logs"
	"nines/supervisor/notify"
	"nines/supervisor/policy"
)

func TestOutputSettings(t *testing.T) {
	svc := &spec.Service{Name: "web", Log: spec.Log{MaxSize: 1 << 20, Keep: 3, Compress: true, Rate: 1024, Format: "json", To: []string{"file"}, Streams: "split"},
		Ready:  &spec.Ready{Check: &spec.Check{Log: &spec.CheckLog{Pattern: "up"}}},
		Checks: []spec.Check{{Log: &spec.CheckLog{Pattern: "ERROR", Max: spec.Rate{Count: 1, Per: time.Minute}}}, {CPU: &spec.CheckCPU{}}, {Log: &spec.CheckLog{Pattern: "ERROR", Max: spec.Rate{Count: 9, Per: time.Minute}}}}}
	got := output{dir: "/log"}.settings("web", outputOf(svc), 2, logs.Err)
	want := logs.Settings{Service: "web", Instance: "web/2", Stream: "err", Dir: "/log", MaxSize: 1 << 20, Keep: 3, Compress: true, Rate: 1024, ToFile: true, Format: "json",
		Matches: []logs.Match{{Pattern: "up"}, {Pattern: "ERROR", Within: time.Minute}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	if s := (output{stdout: true}).settings("web", outputOf(svc), 2, logs.Out); s.ToFile || !s.ToStdout {
		t.Errorf("without a folder: %+v", s)
	}
	if s := streams(svc); len(s) != 2 || s[0] != logs.Out || s[1] != logs.Err {
		t.Errorf("%q", s)
	}
	svc.Log.Streams = "merged"
	if s := streams(svc); len(s) != 1 || s[0] != logs.Out {
		t.Errorf("%q", s)
	}
}

// TestRelog: every running instance of a changed service, and no other, in as
// few messages as hold them.
func TestRelog(t *testing.T) {
	a, b, err := notify.Pair()
	if err != nil {
		t.Fatal(err)
	}
	ours, err := notify.NewConn(a)
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	keeper, err := notify.NewConn(b)
	if err != nil {
		t.Fatal(err)
	}
	defer keeper.Close()
	s := &Supervisor{cfg: Config{Keeper: ours}, live: map[policy.Slot]*incarnation{}}
	old, other, gone := &spec.Service{Name: "web"}, &spec.Service{Name: "db"}, &spec.Service{Name: "gone"}
	s.spawner = &spawner{
		s: s, resolve: &resolver{output: output{dir: "/log"}},
		logs: newLogBlocks(&spec.Spec{Services: []*spec.Service{old, other, gone}}),
	}
	const n = 1000
	for i := range n {
		s.live[policy.Slot(i)] = &incarnation{svc: old, index: i, name: fmt.Sprintf("web/%d.7", i)}
	}
	s.live[n] = &incarnation{svc: other, name: "db/0.1"}
	s.live[n+1] = &incarnation{svc: gone, name: "gone/0.1"}
	done := make(chan struct{})
	go func() { // more than the socket holds
		defer close(done)
		sp := &spec.Spec{Services: []*spec.Service{{Name: "web", Log: spec.Log{Rate: 4711, Keep: 2}, Checks: []spec.Check{{Log: &spec.CheckLog{Pattern: "x"}}}}, {Name: "db"}, {Name: "new"}}}
		s.relog(sp)
		s.relog(sp) // nothing more to say
	}()
	seen := map[string]bool{}
	buf := make([]byte, notify.MaxMessage)
	for len(seen) < 2*n {
		k, fds, err := keeper.Receive(buf)
		if err != nil || len(fds) > 0 {
			t.Fatal(err, fds)
		}
		m, err := notify.Parse(buf[:k])
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(m); i += 2 {
			set, err := logs.ParseSettings(m[i+1].Value)
			if m[i].Key != notify.KeyFDName || m[i+1].Key != notify.KeyLog || err != nil {
				t.Fatal(m[i], m[i+1], err)
			}
			name, stream, _ := strings.Cut(m[i].Value, ":")
			if len(set.Matches) != 1 || set.Stream != stream || name != set.Instance+".7" || set.Rate != 4711 || set.Keep != 2 {
				t.Errorf("%s: %+v", m[i].Value, set)
			}
			seen[m[i].Value] = true
		}
	}
	<-done
	if seen["db/0.1:out"] {
		t.Error("db as well")
	}
	if _, _, err := keeper.TryReceive(buf); err == nil {
		t.Error("more was said")
	}
}

func TestHeard(t *testing.T) {
	for _, h := range []heard{{"ab12", 0}, {"ab12", 1 << 60}} {
		if got, ok := parseHeard(h.String()); !ok || got != h {
			t.Errorf("%v became %v", h, got)
		}
	}
	for _, v := range []string{"", "ab12", " 5", "ab12 x", "ab12 -1"} {
		if h, ok := parseHeard(v); ok {
			t.Errorf("%q is %v", v, h)
		}
	}
	if (heard{}).String() != "" {
		t.Error("nothing heard is kept")
	}
	p, err := ReadPast(map[string]string{keyHeard: "ab12 5"})
	if err != nil || p.Heard != (heard{"ab12", 5}) {
		t.Errorf("%v, %v", p.Heard, err)
	}
}
