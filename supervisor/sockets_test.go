package supervisor

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nines/spec"
	"nines/supervisor/journal"
	"nines/supervisor/listen"
	"nines/supervisor/notify"
	"nines/supervisor/policy"
	"nines/supervisor/proc"
)

// bench is a supervisor with nothing but its sockets, and the keeper's end.
type bench struct {
	*sockets
	t      *testing.T
	keeper *notify.Conn
}

func newBench(t *testing.T, past Past, back map[string]int, services ...*spec.Service) *bench {
	t.Helper()
	a, b, err := notify.Pair()
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*notify.Conn
	for i, fd := range []int{a, b} {
		if ends[i], err = notify.NewConn(fd); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ends[i].Close() })
	}
	s := &Supervisor{
		cfg: Config{Change: Change{Spec: &spec.Spec{Services: services}}, Keeper: ends[0], Past: past, Sockets: back},
		log: slog.New(slog.NewTextHandler(io.Discard, nil)), journal: journal.New(100),
	}
	r := &bench{newSockets(s, &userCache{}), t, ends[1]}
	t.Cleanup(func() {
		for _, sock := range r.open {
			proc.Close(sock.FD)
		}
	})
	return r
}

// heard is all that the keeper was told so far, and the descriptors by name.
func (r *bench) heard() (string, map[string]int) {
	r.t.Helper()
	var all []string
	fds := map[string]int{}
	buf := make([]byte, notify.MaxMessage)
	for {
		n, got, err := r.keeper.TryReceive(buf)
		if errors.Is(err, notify.ErrWouldBlock) {
			return strings.Join(all, "\n"), fds
		}
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, string(buf[:n]))
		m, err := notify.Parse(buf[:n])
		if err != nil {
			r.t.Fatal(err)
		}
		for _, f := range m {
			if f.Key == notify.KeyFDName && len(got) > 0 {
				fds[f.Value], got = got[0], got[1:]
			}
		}
		notify.CloseAll(got)
	}
}

func (r *bench) events() string {
	var all []string
	err := r.s.journal.Read(r.t.Context(), journal.Query{}, func(e journal.Entry) error {
		all = append(all, string(e.Kind)+" "+e.Service+" "+e.Text)
		return nil
	})
	if err != nil {
		r.t.Error(err)
	}
	return strings.Join(all, "\n")
}

// id is what the keeper's value says of a socket, without the address.
func id(t *testing.T, path string) string {
	t.Helper()
	fi, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	st := fi.Sys().(*syscall.Stat_t)
	return strconv.FormatUint(st.Dev, 16) + "-" + strconv.FormatUint(st.Ino, 16)
}

func service(name string, l ...spec.Listen) *spec.Service {
	return &spec.Service{Name: name, Enabled: true, Listen: l}
}

func unixAt(path string) spec.Listen {
	return spec.Listen{Name: "s", Address: "unix://" + path, Share: "inherit"}
}

// TestSocketsSurvive: a successor gets what was bound, and binds nothing.
func TestSocketsSurvive(t *testing.T) {
	dir := t.TempDir()
	off := service("off", unixAt(dir+"/off"))
	off.Enabled = false
	web := service("web", unixAt(dir+"/web"),
		spec.Listen{Name: "each", Address: "tcp://127.0.0.1:1", Share: "reuseport"},
		spec.Listen{Name: "dgram", Address: "udp://127.0.0.1:1", Share: "inherit"})
	r := newBench(t, Past{}, nil, web, off, service("plain"))
	r.begin()
	said, fds := r.heard()
	value := "listen:web/s " + id(t, dir+"/web") + " unix://" + dir + "/web"
	if want := "FDSTORE=1\nFDNAME=listen:web/s\nX_NINES_VALUE=" + value; said != want || len(fds) != 1 {
		t.Fatalf("the keeper hears %q, want %q", said, want)
	}
	mine, err := r.of(web)
	if err != nil || len(mine) != 1 {
		t.Fatalf("%v, %v", mine, err)
	}
	if none, err := r.of(service("plain")); none != nil || err != nil {
		t.Errorf("%v, %v", none, err)
	}
	// One that is not enabled is bound when it is started all the same.
	if _, err := os.Lstat(dir + "/off"); !os.IsNotExist(err) {
		t.Errorf("off: %v", err)
	}
	if got, err := r.of(off); err != nil || len(got) != 1 {
		t.Errorf("off: %v, %v", got, err)
	}
	key, remembered, _ := strings.Cut(value, " ")
	past := Past{Sockets: map[string]string{key: remembered}}
	next := newBench(t, past, fds, web)
	next.begin()
	if said, _ := next.heard(); said != "" {
		t.Errorf("the keeper hears %q", said)
	}
	got, err := next.of(web)
	if err != nil || len(got) != 1 || got[0] != fds["listen:web/s"] {
		t.Errorf("%v, %v; want %v", got, err, fds)
	}
	if c, err := net.Dial("unix", dir+"/web"); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
	next.remove()
	if _, err := os.Lstat(dir + "/web"); !os.IsNotExist(err) {
		t.Errorf("it is left: %v", err)
	}
}

// kept binds what an earlier supervisor would have, and gives what the keeper
// hands back.
func kept(t *testing.T, services ...*spec.Service) (Past, map[string]int) {
	t.Helper()
	r := newBench(t, Past{}, nil, services...)
	r.begin()
	said, fds := r.heard()
	past := Past{Sockets: map[string]string{}}
	for line := range strings.SplitSeq(said, "\n") {
		if v, ok := strings.CutPrefix(line, "X_NINES_VALUE="); ok {
			key, value, _ := notify.SplitValue(v)
			past.Sockets[key] = value
		}
	}
	return past, fds
}

// TestSocketsChange: what no block wants goes, with its file; an address that
// another block has now can be bound at once; another mode needs no new socket.
func TestSocketsChange(t *testing.T) {
	dir := t.TempDir()
	past, fds := kept(t, service("gone", unixAt(dir+"/a")), service("moved", unixAt(dir+"/b")), service("mode", unixAt(dir+"/c")))
	if len(fds) != 3 {
		t.Fatalf("%v", fds)
	}
	strange, other, err := notify.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer proc.Close(other)
	fds["strange"] = strange
	mode := fds["listen:mode/s"]
	r := newBench(t, past, fds, service("new", unixAt(dir+"/a")), service("moved", unixAt(dir+"/d")), service("mode", unixAt(dir+"/c?mode=0600")))
	r.begin()
	said, got := r.heard()
	for _, want := range []string{
		"FDSTOREREMOVE=1\nFDNAME=listen:gone/s\nX_NINES_VALUE=listen:gone/s \n",
		"FDSTOREREMOVE=1\nFDNAME=listen:moved/s\nX_NINES_VALUE=listen:moved/s \n",
		"FDSTOREREMOVE=1\nFDNAME=strange\n",
		"FDSTORE=1\nFDNAME=listen:new/s\nX_NINES_VALUE=listen:new/s " + id(t, dir+"/a") + " unix://" + dir + "/a",
		"FDSTORE=1\nFDNAME=listen:moved/s\nX_NINES_VALUE=listen:moved/s " + id(t, dir+"/d") + " unix://" + dir + "/d",
		"X_NINES_VALUE=listen:mode/s " + id(t, dir+"/c") + " unix://" + dir + "/c?mode=0600",
	} {
		if !strings.Contains(said+"\n", want) {
			t.Errorf("the keeper does not hear %q, but\n%s", want, said)
		}
	}
	if len(got) != 2 || r.open["listen:mode/s"].FD != mode {
		t.Errorf("%v", got)
	}
	fi, err := os.Lstat(dir + "/c")
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	if _, err := os.Lstat(dir + "/b"); !os.IsNotExist(err) {
		t.Errorf("b is left: %v", err)
	}
	if got := r.events(); got != "listen_failed moved cannot listen on unix://"+dir+"/d: what was kept listens on "+dir+"/b: it is bound anew" {
		t.Errorf("events: %s", got)
	}
	notify.CloseAll([]int{got["listen:new/s"], got["listen:moved/s"]})
}

// TestSocketsFail: a start says why; what runs already is not about to start, so
// an event does.
func TestSocketsFail(t *testing.T) {
	dir := t.TempDir()
	web := service("web", unixAt(dir+"/no/s"))
	past := Past{}
	past.Slots = map[string]policy.SlotMemory{"web/0": {Phase: "ready", Incarnation: 1, PID: 1}}
	r := newBench(t, past, nil, web, service("new", unixAt(dir+"/no/t")))
	r.begin()
	why := "cannot listen on unix://" + dir + "/no/s: its folder " + dir + "/no does not exist: make it, or name another path (ENOENT)"
	if got := r.events(); got != "listen_failed web "+why {
		t.Errorf("events: %s", got)
	}
	_, err := r.of(web)
	var failed *proc.Error
	if !errors.As(err, &failed) || failed.Step != proc.StepListen || failed.Error() != why || failed.Again() || failed.ExitCode() != 1 {
		t.Errorf("%v", err)
	}
	for address, want := range map[string]string{
		"tcp://[fe80::1%nosuch]:80":               "cannot listen on tcp://[fe80::1%nosuch]:80: there is no network interface nosuch (ENODEV)",
		"unix://" + dir + "/u?user=nobody-at-all": "nobody-at-all",
		"garbage": "cannot listen on garbage: the scheme is missing",
	} {
		_, err := r.of(service("bad", spec.Listen{Name: "l", Address: address, Share: "inherit"}))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", address, err)
		}
	}
	// The machine's fault, and passing.
	if e := asProcError("x", &listen.Error{Address: "x", Why: "too many", Errno: syscall.EMFILE}); !e.Again() {
		t.Errorf("%v", e)
	}
	// It comes to be possible.
	if err := os.Mkdir(dir+"/no", 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := r.of(web); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
	// The keeper is gone: the service gets its socket all the same.
	r.keeper.Close()
	if got, err := r.of(service("more", unixAt(dir+"/more"))); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestListenEnv(t *testing.T) {
	env := map[string]string{"LISTEN_PID": "1", "LISTEN_PIDFDID": "2", "LISTEN_FDS": "9", "A": "b"}
	setListenEnv(env, []spec.Listen{{Name: "http"}, {Name: "admin"}})
	want := map[string]string{"A": "b", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "http:admin", "NINES_FD_http": "3", "NINES_FD_admin": "4"}
	if diff := cmp.Diff(want, env); diff != "" {
		t.Error(diff)
	}
}
