package keeper

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nines/supervisor/notify"
)

func TestStoreReplacesAndDrops(t *testing.T) {
	before := openFDs(t)
	s := newStore(2)
	a, wa := logPipe(t)
	b, wb := logPipe(t)
	c, wc := logPipe(t)
	first, err := s.put("a", "x", true, a)
	if err != nil || first == nil {
		t.Fatal(first, err)
	}
	// The same pipe again: nothing to tell, unless its settings are new.
	again, err := unix.FcntlInt(uintptr(a), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if e, err := s.put("a", "x", true, again); e != nil || err != nil {
		t.Errorf("the same again = %v, %v", e, err)
	}
	if again, err = unix.FcntlInt(uintptr(a), unix.F_DUPFD_CLOEXEC, 0); err != nil {
		t.Fatal(err)
	}
	if e, err := s.put("a", "y", true, again); e != first || err != nil || e.settings != "y" || e.fd != a {
		t.Errorf("new settings = %v, %v", e, err)
	}
	// Another pipe under that name takes its place.
	if e, err := s.put("a", "y", true, b); e == nil || err != nil || first.fd != -1 {
		t.Errorf("another = %v, %v", e, err)
	}
	if _, err := s.put("listen", "", false, c); err != nil {
		t.Error(err)
	}
	if got := s.listed(true); len(got) != 1 || got[0].fd != b {
		t.Errorf("logs = %v", got)
	}
	// One more than fits, and what came for it is closed.
	d, wd := logPipe(t)
	var no refusal
	if _, err := s.put("d", "", true, d); !errors.As(err, &no) || !strings.Contains(err.Error(), "raise the limit") {
		t.Errorf("one too many: %v", err)
	}
	if s.remove("listen", true) || !s.remove("listen", false) || s.remove("listen", false) || !s.remove("a", true) {
		t.Error("remove")
	}
	if !s.empty() {
		t.Error("not empty")
	}
	for _, w := range []*os.File{wa, wb, wc, wd} {
		w.Close()
	}
	if after := openFDs(t); after != before {
		t.Errorf("%d descriptors open, were %d", after, before)
	}
}

func TestStoreValues(t *testing.T) {
	s := newStore(0)
	for _, v := range []struct{ key, value string }{{"b", "1"}, {"a", "1"}, {"c", "1"}, {"b", "22"}, {"a", ""}, {"none", ""}} {
		if err := s.set(v.key, v.value); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(s.keys(), " "); got != "b c" {
		t.Errorf("keys = %q", got)
	}
	if s.values["b"].value != "22" || s.valueBytes != len("b22c1") {
		t.Errorf("%v, %d bytes", s.values, s.valueBytes)
	}
}

func TestStoreIsBounded(t *testing.T) {
	s := newStore(0)
	for i := range maxValues {
		if err := s.set(strconv.Itoa(i), "x"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.set("more", "x"); err == nil {
		t.Error("one value too many was taken")
	}
	if err := s.set("7", "y"); err != nil {
		t.Errorf("a change is no new value: %v", err)
	}
	s = newStore(0)
	big := strings.Repeat("x", maxValue)
	var err error
	n := 0
	for ; err == nil && n < maxValues; n++ {
		err = s.set("k"+strconv.Itoa(n), big)
	}
	if err == nil || s.valueBytes > maxValueBytes || s.valueBytes < maxValueBytes-2*maxValue {
		t.Errorf("%d values, %d bytes, %v", n, s.valueBytes, err)
	}
	if err := s.set("k0", ""); err != nil {
		t.Error(err)
	}
}

func TestRefusedMessages(t *testing.T) {
	r := newRig(t)
	r.up()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	fd := []int{int(null.Fd())}
	open := openFDs(t)
	for _, c := range []struct {
		text string
		fds  []int
		want string
	}{
		{"garbage", fd, "line 1: it has no '='"},
		{strings.Repeat("x", notify.MaxMessage), nil, "it has no '='"},
		{"STATUS=x", fd, "it has descriptors and no FDSTORE=1"},
		{"FDSTORE=1", fd, "one FDNAME for each descriptor"},
		{"FDSTORE=1\nFDNAME=a\nFDNAME=b", fd, "one FDNAME for each descriptor"},
		{"FDSTORE=1\nFDNAME=", fd, "its FDNAME is empty"},
		{"FDSTORE=1\nFDNAME=a b", fd, "its FDNAME is empty"},
		{"FDSTORE=1\nFDNAME=" + strings.Repeat("a", maxName+1), fd, "its FDNAME is empty, longer"},
		{"FDSTORE=1\nX_NINES_LOG=s\nFDNAME=a", fd, "does not follow"},
		{"X_NINES_LOG=s", nil, "does not follow"},
		{"FDSTORE=1\nFDNAME=a\nX_NINES_LOG=" + strings.Repeat("s", maxSettings+1), fd, "longer than 16 KiB"},
		{"FDSTORE=1\nFDSTOREREMOVE=1\nFDNAME=a", fd, "both"},
		{"FDSTOREREMOVE=1\nFDNAME=a", fd, "descriptors and no"},
		{"FDNAME=a", nil, "FDNAME without"},
		{"FDNAME=a\nX_NINES_LOG=s\nFDNAME=b", nil, "FDNAME without"},
		{"X_NINES_VALUE= x", nil, "the key of its X_NINES_VALUE is empty"},
		{"X_NINES_VALUE=", nil, "the key of its X_NINES_VALUE is empty"},
		{"X_NINES_VALUE=" + strings.Repeat("k", maxKey+1) + " x", nil, "the key of its"},
		{"X_NINES_VALUE=ok 1\nX_NINES_VALUE=k " + strings.Repeat("x", maxValue+1), nil, "value k is longer than 4 KiB"},
		{"X_NINES_END=x", nil, "is no exit code"},
		{"X_NINES_END=256", nil, "is no exit code"},
	} {
		r.tellRaw("sup", []byte(c.text), c.fds)
		r.wantSaid("message from nines supervise refused: ")
		r.tellRaw("sup", []byte(c.text), c.fds)
		r.wantSaid(c.want)
		if n := openFDs(t); n != open {
			t.Errorf("%.40q: %d descriptors open, were %d", c.text, n, open)
		}
	}
	if !r.store.empty() || r.endSaid || r.sup.ready() {
		t.Errorf("something was taken: %v %v", r.store.fds, r.store.values)
	}
	// The log process may not do what the supervisor may.
	for _, c := range []string{"X_NINES_VALUE=k v", "X_NINES_END=0", "nothing"} {
		r.tellRaw("log", []byte(c), nil)
		r.wantSaid("message from nines-log refused: ")
	}
	r.tellRaw("log", []byte("FDNAME=a\nX_NINES_LOG=s"), nil)
	r.wantSaid("message from nines-log refused: it asks for what is the supervisor's alone")
	r.tellRaw("log", []byte("FDSTORE=1\nFDNAME=a"), fd)
	r.wantSaid("message from nines-log refused: it asks for what is the supervisor's alone")
	// More than the buffer holds, and more descriptors than are taken.
	raw := r.latest("sup").fd
	many := make([]int, notify.MaxFDs+30)
	for i := range many {
		many[i] = fd[0]
	}
	for _, err := range []error{
		unix.Sendmsg(raw, make([]byte, notify.MaxMessage+1), unix.UnixRights(fd[0]), nil, 0),
		unix.Sendmsg(raw, []byte("FDSTORE=1"), unix.UnixRights(many...), nil, 0),
		unix.Sendmsg(raw, nil, nil, nil, 0),
	} {
		if err != nil {
			t.Fatal(err)
		}
		r.receive(&r.sup, messagesATurn)
	}
	r.wantSaid("message from nines supervise refused: the message was cut off")
	if n := openFDs(t); n != open {
		t.Errorf("%d descriptors open, were %d", n, open)
	}
	r.tellRaw("sup", []byte("WATCHDOG=1\nX_UNKNOWN=1\nMAINPID=x\nREADY=1"), nil)
	if !r.sup.ready() {
		t.Error("unknown keys were not skipped")
	}
}

// A value or pipe that no longer fits is said; the rest of its message counts.
func TestFullStoreIsSaid(t *testing.T) {
	r := newRig(t)
	r.store.maxFDs = 1
	r.up()
	fd, _ := logPipe(t)
	r.tell("sup", []int{fd, fd}, notify.FDStore(), notify.FDName("a"), notify.FDName("b"), notify.Value("k", "v"))
	notify.CloseAll([]int{fd})
	r.wantSaid("cannot keep descriptor b: 1 are kept already")
	if len(r.store.fds) != 1 || len(r.store.values) != 1 {
		t.Errorf("kept %v, %v", r.store.fds, r.store.values)
	}
	r.store.valueBytes = maxValueBytes
	r.tell("sup", nil, notify.Value("k2", "v"))
	r.wantSaid("cannot keep value k2: the store is full")
}

// TestSettingsChanged: the settings of a pipe that is kept can be changed by its
// name alone, and reach the log process and its successor.
func TestSettingsChanged(t *testing.T) {
	r := newRig(t)
	r.up()
	r.storePipe("web/0.17:out", "keep=5")
	_, fds := r.hear("log")
	notify.CloseAll(fds)
	change := []notify.Field{
		notify.FDName("web/0.17:out"), notify.Log("keep=6"),
		notify.FDName("web/0.17:err"), notify.Log("keep=6"), // there is none
	}
	r.tell("sup", nil, change...)
	const want = "FDSTORE=1\nFDNAME=web/0.17:out\nX_NINES_LOG=keep=6"
	got, fds := r.hear("log")
	if notify.CloseAll(fds); got != want || len(fds) != 1 {
		t.Fatalf("the log process hears %q with %d descriptors", got, len(fds))
	}
	r.tell("sup", nil, change...) // nothing new
	r.hearsNothing("log")
	r.tell("log", nil, notify.Ready())
	r.dies("log", killedBy(unix.SIGKILL))
	got, fds = r.hear("log")
	if notify.CloseAll(fds); got != want || len(fds) != 1 {
		t.Fatalf("its successor hears %q with %d descriptors", got, len(fds))
	}
}

func TestPipesReachTheLogProcess(t *testing.T) {
	r := newRig(t)
	r.up()
	read, write := logPipe(t)
	r.tell("sup", []int{read}, notify.FDStore(), notify.FDName("web/0.17:out"), notify.Log("file=true dir=/x"))
	notify.CloseAll([]int{read})
	got, fds := r.hear("log")
	if got != "FDSTORE=1\nFDNAME=web/0.17:out\nX_NINES_LOG=file=true dir=/x" || len(fds) != 1 {
		t.Fatalf("the log process hears %q with %d descriptors", got, len(fds))
	}
	// It dies with the line unread: the next one gets it all the same.
	if _, err := write.WriteString("a line\n"); err != nil {
		t.Fatal(err)
	}
	notify.CloseAll(fds)
	r.tell("log", nil, notify.Ready())
	r.dies("log", killedBy(unix.SIGKILL))
	got, fds = r.hear("log")
	if got != "FDSTORE=1\nFDNAME=web/0.17:out\nX_NINES_LOG=file=true dir=/x" || len(fds) != 1 {
		t.Fatalf("its successor hears %q with %d descriptors", got, len(fds))
	}
	write.Close()
	pipe := os.NewFile(uintptr(fds[0]), "pipe")
	defer pipe.Close()
	if line, err := io.ReadAll(pipe); string(line) != "a line\n" || err != nil {
		t.Errorf("the pipe holds %q, %v", line, err)
	}
	// End of file: the keeper drops its copy. Twice, or of a stranger: nothing.
	for range 2 {
		r.tell("log", nil, notify.FDStoreRemove(), notify.FDName("web/0.17:out"), notify.FDName("none"))
	}
	if !r.store.empty() {
		t.Error("its copy is still there")
	}
	r.dies("log", killedBy(unix.SIGKILL))
	r.pass(backoffMax)
	r.hearsNothing("log")
}

// What is no log pipe is kept, and no business of the log process.
func TestOtherDescriptorsAreKept(t *testing.T) {
	r := newRig(t)
	r.up()
	fd, _ := logPipe(t)
	r.tell("sup", []int{fd}, notify.FDStore(), notify.FDName("listen:web/http"))
	notify.CloseAll([]int{fd})
	r.hearsNothing("log")
	r.tell("log", nil, notify.FDStoreRemove(), notify.FDName("listen:web/http"))
	if len(r.store.fds) != 1 {
		t.Error("the log process could drop it")
	}
	r.tell("sup", nil, notify.FDStoreRemove(), notify.FDName("listen:web/http"))
	if len(r.store.fds) != 0 {
		t.Error("the supervisor could not")
	}
}

// What is no log pipe goes back to the next supervisor by its name, in as many
// messages as it takes, before the values and the end.
func TestDescriptorsAreHandedBack(t *testing.T) {
	r := newRig(t)
	r.up()
	const n = notify.MaxFDs + 3
	inode := map[string]uint64{}
	for i := range n {
		fd, _ := logPipe(t)
		name := "listen:web/" + strconv.Itoa(i)
		inode[name] = inodeOf(t, fd)
		r.tell("sup", []int{fd}, notify.FDStore(), notify.FDName(name), notify.Value("k"+strconv.Itoa(i), "v"))
		notify.CloseAll([]int{fd})
	}
	r.storePipe("web/0.1:out", "s")
	r.tell("sup", nil, notify.FDStoreRemove(), notify.FDName("listen:web/7"))
	for range 2 {
		// Every supervisor gets them, not only the next.
		r.dies("sup", killedBy(unix.SIGKILL))
		r.pass(time.Second)
		var names []string
		values := 0
		buf := make([]byte, notify.MaxMessage)
		for ended := false; !ended; {
			k, fds, err := r.latest("sup").conn.TryReceive(buf)
			if err != nil {
				t.Fatal(err)
			}
			m, err := notify.Parse(buf[:k])
			if err != nil {
				t.Fatal(err)
			}
			if len(fds) > 0 && (m[0].Key != notify.KeyFDStore || len(m) != len(fds)+1) {
				t.Fatalf("%d descriptors came with %v", len(fds), m)
			}
			for i, fd := range fds {
				name := m[i+1].Value
				names = append(names, name)
				if inodeOf(t, fd) != inode[name] {
					t.Errorf("%s is not what was stored", name)
				}
			}
			notify.CloseAll(fds)
			for _, f := range m {
				if f.Key == notify.KeyValue {
					values++
				}
				ended = ended || f.Key == notify.KeyStore
			}
		}
		if len(names) != n-1 || names[0] != "listen:web/0" || names[7] != "listen:web/8" || values != n {
			t.Errorf("%d values, descriptors %v", values, names)
		}
		r.hearsNothing("sup")
	}
	if n := len(r.store.listed(false)); n != notify.MaxFDs+2 {
		t.Errorf("the keeper has %d left", n)
	}
}

// One that is dropped before it was its turn is not handed back, and one that
// cannot be sent holds nothing up.
func TestHandBackOfDroppedDescriptors(t *testing.T) {
	r := newRig(t)
	a, _ := logPipe(t)
	if _, err := r.store.put("a", "", false, a); err != nil {
		t.Fatal(err)
	}
	h := newHandBack(r.store)
	if h.next() != "descriptor a" {
		t.Error(h.next())
	}
	r.store.remove("a", false)
	if b, fds, n := h.fill(nil, nil, notify.MaxFields); string(b) != "X_NINES_STORE=end" || len(fds) != 0 || n != 1 {
		t.Errorf("fill = %q, %v, %d", b, fds, n)
	}
	r.up()
	r.hear("sup")
	b, _ := logPipe(t)
	defer notify.CloseAll([]int{b})
	r.sup.out = &handBack{store: r.store, fds: []*storedFD{{name: "bad", fd: 1 << 20}, {name: "good", fd: b}}}
	r.flush(&r.sup)
	r.wantSaid("cannot send descriptor bad to nines supervise: sendmsg: bad file descriptor: it goes without")
	got, fds := r.hear("sup")
	notify.CloseAll(fds)
	if end, _ := r.hear("sup"); got != "FDSTORE=1\nFDNAME=good" || len(fds) != 1 || end != "X_NINES_STORE=end" {
		t.Errorf("the supervisor hears %q, then %q", got, end)
	}
}

func inodeOf(t *testing.T, fd int) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

// A log process that reads nothing holds nobody up; later it gets everything,
// once and in order, but for what was dropped meanwhile.
func TestSlowLogProcess(t *testing.T) {
	r := newRig(t)
	r.up()
	const n = 900
	fd, _ := logPipe(t)
	settings := strings.Repeat("s", 2000)
	for i := range n / 2 {
		r.tell("sup", []int{fd, fd}, notify.FDStore(),
			notify.FDName("a/"+strconv.Itoa(2*i)), notify.Log(settings), notify.FDName("a/"+strconv.Itoa(2*i+1)), notify.Log(settings))
	}
	notify.CloseAll([]int{fd})
	if !r.log.link.waiting {
		t.Fatal("its socket took it all: the test needs more pipes")
	}
	dropped := n - 10
	r.tell("sup", nil, notify.FDStoreRemove(), notify.FDName("a/"+strconv.Itoa(dropped)))
	next := 0
	buf := make([]byte, notify.MaxMessage)
	for next < n {
		k, fds, err := r.latest("log").conn.TryReceive(buf)
		if errors.Is(err, notify.ErrWouldBlock) {
			<-r.wake
			r.attend(&r.log)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		m, err := notify.Parse(buf[:k])
		if err != nil {
			t.Fatal(err)
		}
		names := 0
		for _, f := range m {
			if f.Key == notify.KeyFDName {
				names++
				if next == dropped {
					next++
				}
				if f.Value != "a/"+strconv.Itoa(next) {
					t.Fatalf("%s instead of a/%d", f.Value, next)
				}
				next++
			}
		}
		if names != len(fds) || names == 0 {
			t.Fatalf("%d names, %d descriptors", names, len(fds))
		}
		notify.CloseAll(fds)
	}
	r.hearsNothing("log")
}

// More values than a socket holds are handed back as they are read.
func TestLargeHandBack(t *testing.T) {
	r := newRig(t)
	r.up()
	big := strings.Repeat("x", 4000)
	const n = 500
	for i := range n {
		r.tell("sup", nil, notify.Value("k"+strconv.Itoa(i), big))
	}
	r.dies("sup", killedBy(unix.SIGKILL))
	if !r.sup.link.waiting {
		t.Fatal("its socket took it all")
	}
	// Deleted before it was its turn: not handed back.
	if err := r.store.set("k499", ""); err != nil {
		t.Fatal(err)
	}
	seen := 0
	buf := make([]byte, notify.MaxMessage)
	for ended := false; !ended; {
		k, _, err := r.latest("sup").conn.TryReceive(buf)
		if errors.Is(err, notify.ErrWouldBlock) {
			<-r.wake
			r.attend(&r.sup)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		m, err := notify.Parse(buf[:k])
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range m {
			if f.Key == notify.KeyStore {
				ended = true
				continue
			}
			if key, value, _ := notify.SplitValue(f.Value); key != "k"+strconv.Itoa(seen) || value != big {
				t.Fatalf("%s instead of k%d", key, seen)
			}
			seen++
		}
	}
	if seen != n-1 {
		t.Errorf("%d values", seen)
	}
	r.hearsNothing("sup")
}

func TestHandBackWithAllDeleted(t *testing.T) {
	r := newRig(t)
	h := &handBack{store: r.store, keys: []string{"a", "b"}}
	if h.next() != "value a" {
		t.Error(h.next())
	}
	b, _, n := h.fill(nil, nil, notify.MaxFields)
	if string(b) != "X_NINES_STORE=end" || n != 1 || h.next() != "the end of the store" {
		t.Errorf("fill = %q, %d", b, n)
	}
	h.advance(n)
	if _, _, n := h.fill(nil, nil, 1); n != 0 {
		t.Errorf("after the end: %d", n)
	}
}

// A descriptor that cannot be sent is left out, and the rest arrives.
func TestWhatCannotBeSent(t *testing.T) {
	r := newRig(t)
	r.up()
	p := r.log.out.(*pipes)
	fd, _ := logPipe(t)
	defer notify.CloseAll([]int{fd})
	p.pending = []*storedFD{{name: "bad", log: true, fd: 1 << 20}, {name: "good", log: true, fd: fd}}
	r.flush(&r.log)
	r.wantSaid("cannot send log pipe bad to nines-log: sendmsg: bad file descriptor: it goes without")
	got, fds := r.hear("log")
	notify.CloseAll(fds)
	if got != "FDSTORE=1\nFDNAME=good\nX_NINES_LOG=" {
		t.Errorf("the log process hears %q", got)
	}
	if p.next() != "STOPPING=1" {
		t.Errorf("next = %q", p.next())
	}
}

// FuzzMessage: whatever a child sends costs no more than a line, and every
// descriptor is either kept or closed.
func FuzzMessage(f *testing.F) {
	f.Add([]byte("FDSTORE=1\nFDNAME=web/0.17:out\nX_NINES_LOG=x"), uint8(1), true)
	f.Add([]byte("X_NINES_VALUE=k v\nREADY=1\nX_NINES_END=3"), uint8(0), true)
	f.Add([]byte("FDSTOREREMOVE=1\nFDNAME=a"), uint8(2), false)
	f.Fuzz(func(t *testing.T, b []byte, n uint8, sup bool) {
		con := &console{lines: make(chan string, 4)}
		k := newKeeper(Options{Supervisor: func() []string { return nil }, Log: func() []string { return nil }}, &fake{t: t}, con, 4)
		before := openFDs(t)
		fds := make([]int, n%5)
		for i := range fds {
			fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			fds[i] = fd
		}
		c := &k.log
		if sup {
			c = &k.sup
		}
		k.message(c, bytes.Clone(b), fds)
		if after := openFDs(t); after != before+len(k.store.fds) {
			t.Errorf("%d descriptors open, %d before, %d kept", after, before, len(k.store.fds))
		}
		for _, e := range k.store.fds {
			notify.CloseAll([]int{e.fd})
		}
		if !sup && !k.store.empty() {
			t.Error("the log process filled the store")
		}
	})
}
