package keeper

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nines/supervisor/notify"
)

// full is a keeper that has something of everything, in mid-work.
func full(t *testing.T) *rig {
	t.Helper()
	r := newRig(t)
	r.version, r.dir, r.lockFD = "one \"1\"\n\x00\xff", "/opt/a folder", memfd(t, "")
	mask := unix.Sigset_t{}
	mask.Val[0] = 1<<63 | 5
	r.mask = &mask
	r.up()
	r.tell("sup", nil, notify.Ready())
	r.dies("sup", killedBy(unix.SIGKILL)) // remembers nothing, has crashed once
	r.pass(3 * time.Second)
	for i := range 3 {
		name := string(rune('a' + i))
		r.storePipe("web/"+name+":out", "service=web text=\"a b\"\tc")
		fd, _ := logPipe(t)
		r.tell("sup", []int{fd}, notify.FDStore(), notify.FDName("listen:"+name))
		notify.CloseAll([]int{fd})
	}
	r.tell("sup", nil, notify.Value("slot:web/0", "1 ready 42\tπ"), notify.Value(keyMain+"42", "77"), notify.Value("gone", "1"))
	r.tell("sup", nil, notify.Value("gone", ""))
	r.signalled(unix.SIGHUP) // it is not ready: remembered
	r.manager.isReady = true
	r.manager.pending = notify.Message{notify.Status("two\nlines"), notify.Ready()}
	r.strangers = 3
	r.machine, r.power.action = &Machine{}, "reboot"
	r.hardware = hardware{dog: &fakeDog{open: true, fd: memfd(t, "")}, path: "/dev/watch dog", open: true, vouched: r.fake.clock.Add(-time.Second)}
	r.killLater(&r.sup, 7*time.Second, "it is a test")
	r.sup.barkAt = r.fake.clock.Add(time.Second)
	r.log.replacing = true
	for _, c := range []*child{&r.sup, &r.log} {
		c.programs.good = &program{"/old/" + c.name, memfd(t, "")}
		t.Cleanup(c.programs.good.close)
	}
	// What the sockets had no room for.
	r.sup.out = newHandBack(r.store)
	r.log.out = &pipes{pending: r.store.listed(true)}
	return r
}

func memfd(t testing.TB, text string) int {
	t.Helper()
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Pwrite(fd, []byte(text), 0); err != nil && text != "" {
		t.Fatal(err)
	}
	return fd
}

func (r *rig) saved() *oldState {
	r.t.Helper()
	saved, err := r.saveState()
	if err != nil {
		r.t.Fatal(err)
	}
	defer notify.CloseAll([]int{saved.fd})
	// Nobody changes it on the way.
	if _, err := unix.Pwrite(saved.fd, []byte("x"), 0); err != unix.EPERM {
		r.t.Errorf("the state can be written to: %v", err)
	}
	s, err := readState(saved.fd)
	if err != nil {
		r.t.Fatal(err)
	}
	if !reflect.DeepEqual(s.fds, saved.kept) {
		r.t.Errorf("descriptors %v are kept, %v are spoken of", saved.kept, s.fds)
	}
	return s
}

// eachFD calls f for every descriptor of a state.
func (s *oldState) eachFD(f func(*int)) {
	f(&s.lockFD)
	f(&s.watchdog.fd)
	for _, c := range []*oldChild{&s.sup, &s.log} {
		f(&c.link)
		if c.good != nil {
			f(&c.good.fd)
		}
		if c.now != nil && c.now != c.good {
			f(&c.now.fd)
		}
	}
	for _, e := range s.store.fds {
		f(&e.fd)
	}
}

// TestStateRoundTrip: a keeper that goes on with a state has the same state, and
// does what the one before it would have done.
func TestStateRoundTrip(t *testing.T) {
	a := full(t)
	first, s := a.saved(), a.saved()
	// The descriptors of the process are the same after exec; here they are
	// copied, and those of the first closed.
	s.eachFD(func(fd *int) {
		if *fd < 0 {
			return
		}
		n, err := unix.FcntlInt(uintptr(*fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		*fd = n
	})
	b := newRig(t)
	b.fake = a.fake
	b.sys = a.fake
	b.version, b.dir, b.lockFD, b.mask = s.version, s.dir, s.lockFD, s.mask
	dog := &fakeDog{}
	b.machine, b.hardware.dog = &Machine{}, dog
	if err := b.restore(s); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*child{&a.sup, &a.log} {
		c.link.close()
		c.link = nil
	}
	second := b.saved()
	if !slices.Equal(dog.acts, []string{"take /dev/watch dog"}) || b.hardware.petAt.Sub(b.fake.clock) != dog.Interval() {
		t.Errorf("the hardware watchdog: %q, petted at %v", dog.acts, b.hardware.petAt)
	}
	for _, s := range []*oldState{first, second} {
		s.fds = nil
		s.eachFD(func(fd *int) { *fd = min(*fd, 0) })
	}
	if !reflect.DeepEqual(first, second) {
		t.Errorf("after a round trip it is\n%+v\nand was\n%+v", second, first)
	}
	if first.sup.killAt-a.fake.monotonic() != (7*time.Second).Nanoseconds() || first.sup.crashes != 1 || first.sup.generation != 2 {
		t.Errorf("the supervisor: %+v", first.sup)
	}
	if _, ok := s.store.values["gone"]; ok || len(s.store.values) != 2 || len(s.store.fds) != 6 {
		t.Errorf("the store: %v", s.store)
	}
	// The hand-back comes once, whole and in order.
	b.deadlines()
	text := ""
	for !strings.Contains(text, "X_NINES_VALUE=slot:") {
		m, fds := b.hear("sup")
		notify.CloseAll(fds)
		text += m + "\n"
	}
	for _, part := range []string{"FDNAME=listen:a\nFDNAME=listen:b\nFDNAME=listen:c", "X_NINES_VALUE=slot:web/0 1 ready 42\tπ"} {
		if strings.Count(text, part) != 1 {
			t.Errorf("the hand-back is %q, want %q once", text, part)
		}
	}
	// The remembered signal, and what was due: the watchdog, the kill.
	b.fake.signals = nil
	b.tell("sup", nil, notify.Ready())
	b.pass(time.Second)
	b.wantSignals(sent{b.sup.pid, unix.SIGHUP}, sent{b.sup.pid, unix.SIGABRT}, sent{b.sup.pid, unix.SIGCONT})
	b.pass(dumpPatience)
	b.wantSignals(sent{b.sup.pid, unix.SIGKILL})
}

func TestReadStateRefuses(t *testing.T) {
	good := stateText(t)
	for name, c := range map[string]struct{ text, why string }{
		"nothing":      {"", "cut off"},
		"another":      {"nines-init state 3\nend\n", `begins with "nines-init state 3" and not with`},
		"no end":       {strings.TrimSuffix(good, stateLast+"\n"), "cut off"},
		"half":         {good[:len(good)/2], "cut off"},
		"no number":    {stateFirst + "\nlock x\nend\n", "line 2 is not understood"},
		"no text":      {stateFirst + "\ndir /x\nend\n", "line 2 is not understood"},
		"no child":     {stateFirst + "\nchild cat 1\nend\n", "line 2 is not understood"},
		"a long line":  {stateFirst + "\nx " + strings.Repeat("x", 2*maxLine) + "\nend\n", "line 2 is too long"},
		"few words":    {stateFirst + "\nfd 3 1\nend\n", "line 2 is not understood"},
		"large number": {stateFirst + "\nlock 99999999999999999999\nend\n", "line 2 is not understood"},
	} {
		fd := memfd(t, c.text)
		if _, err := readState(fd); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v, want %q", name, err, c.why)
		}
		notify.CloseAll([]int{fd})
	}
	// One of before there were machines is none of a machine.
	old := memfd(t, strings.Replace(stateFirst+"\nready 1\nend\n", stateFirst, stateBefore, 1))
	s, err := readState(old)
	if err != nil || s.machine || s.watchdog.path != "" || s.watchdog.fd != -1 || !s.everReady {
		t.Errorf("of an older version: %+v, %v", s, err)
	}
	notify.CloseAll([]int{old})
	// Lines of a later version do not disturb.
	fd := memfd(t, strings.Replace(good, "\n", "\nbadge \"of honour\" 7\n", 1))
	if _, err := readState(fd); err != nil {
		t.Error(err)
	}
	notify.CloseAll([]int{fd})
	if _, err := readState(-1); err == nil {
		t.Error("no descriptor is read")
	}
}

// stateText is a whole state, as it is written.
func stateText(t *testing.T) string {
	t.Helper()
	r := full(t)
	saved, err := r.saveState()
	if err != nil {
		t.Fatal(err)
	}
	defer notify.CloseAll([]int{saved.fd})
	b := make([]byte, 1<<20)
	n, err := unix.Pread(saved.fd, b, 0)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

// FuzzReadState: no text makes it panic, hang, or take more than a few times the
// text's size.
func FuzzReadState(f *testing.F) {
	f.Add([]byte(stateFirst + "\nend\n"))
	f.Add([]byte(stateFirst + `
version "one"
machine "reboot"
watchdog 9 7 "/dev/watchdog"
lock 5
mask -1
remembered 1
notify "READY" "1"
child supervisor 812 2 1 1 0 0 7000000000 0 0 "it is a test"
link supervisor 9
good log 7 "/a b"
now log 8 "/c"
fd 12 3 1 "web/0:out" "x=y"
value 4 "k" "v"
give "listen:a"
tell "k"
given 1
pipe "web/0:out"
end
`))
	f.Fuzz(func(t *testing.T, text []byte) {
		fd := memfd(t, string(text))
		defer notify.CloseAll([]int{fd})
		s, err := readState(fd)
		if (err == nil) == (s == nil) {
			t.Fatalf("%v, %v", s, err)
		}
		if err != nil {
			return
		}
		if !bytes.HasPrefix(text, []byte(stateFirst+"\n")) && !bytes.HasPrefix(text, []byte(stateBefore+"\n")) || len(s.fds) > len(text) || s.store.valueBytes > len(text)*4 {
			t.Errorf("%q is %+v", text, s)
		}
	})
}
