package listen

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nines/spec"
)

func address(t *testing.T, format string, args ...any) spec.ListenAddress {
	t.Helper()
	a, err := spec.ParseListen(fmt.Sprintf(format, args...))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// bind binds, and closes with the test.
func bind(t *testing.T, a spec.ListenAddress) Socket {
	t.Helper()
	s, err := Bind(t.Context(), a, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeFD(s.FD) })
	return s
}

// port is one that is free now; it may be taken before it is used, but no test
// runs beside another here.
func port(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// serve answers one connection on a socket of ours.
func answers(t *testing.T, fd int, network, addr string) {
	t.Helper()
	c, err := net.Dial(network, addr)
	if err != nil {
		t.Errorf("%s %s: %v", network, addr, err)
		return
	}
	defer c.Close()
	conn, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFD(conn)
	if _, err := unix.Write(conn, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 5)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "hello" {
		t.Errorf("%s %s: %q, %v", network, addr, b, err)
	}
}

func hasIPv6() bool {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		return false
	}
	l.Close()
	return true
}

func refused(t *testing.T, network, addr string) {
	t.Helper()
	if c, err := net.Dial(network, addr); !errors.Is(err, unix.ECONNREFUSED) {
		if err == nil {
			c.Close()
		}
		t.Errorf("%s is not refused: %v", addr, err)
	}
}

func TestTCP(t *testing.T) {
	n := port(t)
	four, six := fmt.Sprintf("127.0.0.1:%d", n), fmt.Sprintf("[::1]:%d", n)
	for _, c := range []struct {
		host      string
		four, six bool
	}{
		{"", true, true}, {"0.0.0.0", true, false}, {"127.0.0.1", true, false}, {"[::]", false, true}, {"[::1]", false, true}, {"localhost", true, false},
	} {
		if !c.four && !hasIPv6() {
			t.Log("this machine has no IPv6: " + c.host + " is left out")
			continue
		}
		a := address(t, "tcp://%s:%d", c.host, n)
		s, err := Bind(t.Context(), a, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := Check(s.FD, s.ID, a); err != nil || s.ID != "" {
			t.Errorf("%s: %q, %v", c.host, s.ID, err)
		}
		flags, err := unix.FcntlInt(uintptr(s.FD), unix.F_GETFL, 0)
		if err != nil || flags&unix.O_NONBLOCK != 0 {
			t.Errorf("%s: flags %#x, %v: it must block", c.host, flags, err)
		}
		if flags, err = unix.FcntlInt(uintptr(s.FD), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("%s: a service would inherit it unasked", c.host)
		}
		if c.four {
			answers(t, s.FD, "tcp", four)
		} else {
			refused(t, "tcp", four)
		}
		if c.six && hasIPv6() {
			answers(t, s.FD, "tcp", six)
		} else if hasIPv6() {
			refused(t, "tcp", six)
		}
		closeFD(s.FD)
	}
}

// TestBacklog: clients wait for a service that is away, as many as the kernel
// allows.
func TestBacklog(t *testing.T) {
	for _, a := range []spec.ListenAddress{address(t, "tcp://127.0.0.1:%d", port(t)), address(t, "unix://%s/s", t.TempDir())} {
		s := bind(t, a)
		to := a.Path
		if a.Network == "tcp" {
			to = net.JoinHostPort(a.Host, strconv.Itoa(a.Port))
		}
		for range 300 { // more than the 128 of old
			c, err := net.Dial(a.Network, to)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
		}
		for range 300 {
			conn, _, err := unix.Accept4(s.FD, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
			if err != nil {
				t.Fatal(err)
			}
			closeFD(conn)
		}
	}
}

func wantError(t *testing.T, err error, no error, parts ...string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || no != nil && !errors.Is(err, no) {
		t.Errorf("%v, want %v", err, no)
		return
	}
	for _, p := range append(parts, "cannot listen on "+e.Address+": ") {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%q does not say %q", err, p)
		}
	}
}

// me is how this process is described.
func me() string { return describe(os.Getpid()) }

func TestTCPInUse(t *testing.T) {
	n := port(t)
	hosts := []string{"127.0.0.1", "0.0.0.0", ""}
	if hasIPv6() {
		hosts = append(hosts, "[::1]", "[::]")
	}
	for _, host := range hosts {
		a := address(t, "tcp://%s:%d", host, n)
		s, err := Bind(t.Context(), a, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range []spec.ListenAddress{a, address(t, "tcp://:%d", n)} {
			_, err = Bind(t.Context(), b, nil)
			wantError(t, err, unix.EADDRINUSE, "it is in use by "+me()+" (EADDRINUSE)")
		}
		closeFD(s.FD)
	}
	// Another address on the same port is somebody else's affair.
	bind(t, address(t, "tcp://127.0.0.1:%d", n))
	bind(t, address(t, "tcp://127.0.0.2:%d", n))
}

func TestTCPErrors(t *testing.T) {
	n := port(t)
	_, err := Bind(t.Context(), address(t, "tcp://192.0.2.1:%d", n), nil)
	wantError(t, err, unix.EADDRNOTAVAIL, "no interface of this machine has that address")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Bind(ctx, address(t, "tcp://no-such-host.invalid:%d", n), nil)
	wantError(t, err, nil, "no-such-host.invalid")
	if hasIPv6() {
		_, err = Bind(t.Context(), address(t, "tcp://[fe80::1%%nosuch]:%d", n), nil)
		wantError(t, err, unix.ENODEV, "there is no network interface nosuch")
	}
	wantError(t, explainTCP(address(t, "tcp://:80"), netip.IPv4Unspecified(), unix.EACCES), unix.EACCES, "CAP_NET_BIND_SERVICE")
	wantError(t, explainTCP(address(t, "tcp://:80"), netip.IPv4Unspecified(), unix.ENOMEM), unix.ENOMEM, "cannot allocate memory (ENOMEM)")
	if _, err := Bind(t.Context(), address(t, "udp://:80"), nil); err != ErrNetwork {
		t.Error(err)
	}
}

func TestUnix(t *testing.T) {
	dir := t.TempDir()
	for query, want := range map[string]os.FileMode{"": 0o666, "?mode=0600": 0o600, "?mode=0660": 0o660, "?mode=0777": 0o777, "?mode=0000": 0} {
		a := address(t, "unix://%s/a b.sock%s", dir, query)
		s := bind(t, a)
		fi, err := os.Lstat(a.Path)
		if err != nil || fi.Mode().Type() != os.ModeSocket || fi.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", query, fi.Mode(), err)
		}
		if os.Geteuid() == 0 || want == 0o600 {
			answers(t, s.FD, "unix", a.Path)
		}
		if err := Check(s.FD, s.ID, a); err != nil {
			t.Error(err)
		}
		if err := Own(address(t, "unix://%s?mode=0640", a.Path), nil); err != nil {
			t.Error(err)
		}
		if fi, err = os.Lstat(a.Path); err != nil || fi.Mode().Perm() != 0o640 {
			t.Errorf("%s changed: %v, %v", query, fi.Mode(), err)
		}
		// Removed only if it is this very one.
		if err := Remove(a, "1-2"); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(a.Path); err != nil {
			t.Error(err)
		}
		for range 2 {
			if err := Remove(a, s.ID); err != nil {
				t.Error(err)
			}
		}
		if _, err := os.Lstat(a.Path); !os.IsNotExist(err) {
			t.Errorf("it is still there: %v", err)
		}
	}
	if err := Remove(address(t, "tcp://:1"), ""); err != nil {
		t.Error(err)
	}
}

func TestUnixOwner(t *testing.T) {
	dir := t.TempDir()
	a := address(t, "unix://%s/s?mode=0660&user=nobody", dir)
	owner := &Owner{UID: 65534, GID: 65533}
	if os.Geteuid() != 0 {
		_, err := Bind(t.Context(), a, owner)
		wantError(t, err, unix.EPERM, "it cannot be given to its user: operation not permitted (EPERM)")
		if _, err := os.Lstat(a.Path); !os.IsNotExist(err) {
			t.Errorf("the failed one is left: %v", err)
		}
		return
	}
	s, err := Bind(t.Context(), a, owner)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFD(s.FD)
	var st unix.Stat_t
	if err := unix.Lstat(a.Path, &st); err != nil || st.Uid != 65534 || st.Gid != 65533 || st.Mode&0o777 != 0o660 {
		t.Errorf("%d:%d %o, %v", st.Uid, st.Gid, st.Mode, err)
	}
}

// TestStale: a socket on which nobody answers is removed; one that lives is not,
// nor is anything that is no socket.
func TestStale(t *testing.T) {
	a := address(t, "unix://%s/s", t.TempDir())
	for range 3 {
		s, err := Bind(t.Context(), a, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Bind(t.Context(), a, nil)
		wantError(t, err, unix.EADDRINUSE, "it is in use by "+me())
		if err := Check(s.FD, s.ID, a); err != nil {
			t.Error(err)
		}
		closeFD(s.FD)
	}
	if err := os.Remove(a.Path); err != nil {
		t.Fatal(err)
	}
	// A live one of another type.
	dgram, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: a.Path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Bind(t.Context(), a, nil)
	wantError(t, err, unix.EADDRINUSE, "it is in use by "+me())
	dgram.Close()
	os.Remove(a.Path)
	// A full backlog is life.
	full, err := open(unix.AF_UNIX)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFD(full)
	if err := errors.Join(unix.Bind(full, &unix.SockaddrUnix{Name: a.Path}), unix.Listen(full, 0)); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("unix", a.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = Bind(t.Context(), a, nil)
	wantError(t, err, unix.EADDRINUSE, "it is in use by "+me())
	os.Remove(a.Path)
	if err := os.WriteFile(a.Path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Bind(t.Context(), a, nil)
	wantError(t, err, unix.EADDRINUSE, "something that is no socket has that path: remove it")
	if b, err := os.ReadFile(a.Path); string(b) != "precious" {
		t.Errorf("it holds %q, %v", b, err)
	}
}

func TestUnixErrors(t *testing.T) {
	dir := t.TempDir()
	_, err := Bind(t.Context(), address(t, "unix://%s/no/s", dir), nil)
	wantError(t, err, unix.ENOENT, "its folder "+dir+"/no does not exist: make it, or name another path (ENOENT)")
	if err := os.WriteFile(dir+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Bind(t.Context(), address(t, "unix://%s/file/s", dir), nil)
	wantError(t, err, unix.ENOTDIR, dir+"/file is not a folder")
	a := address(t, "unix://%s/s", dir)
	for no, part := range map[unix.Errno]string{
		unix.EACCES: "may not make a file in " + dir, unix.EROFS: "read-only filesystem", unix.ENOSPC: "no space is left",
		unix.EADDRINUSE: "another program took that path", unix.ENOMEM: "cannot allocate memory",
	} {
		wantError(t, explainUnix(a, no), no, part)
	}
	// A link in the socket's place is not followed.
	if err := os.Symlink(dir+"/file", a.Path); err != nil {
		t.Fatal(err)
	}
	wantError(t, Own(a, nil), unix.EEXIST, "its file was replaced")
	if fi, err := os.Stat(dir + "/file"); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	os.Remove(a.Path)
	wantError(t, Own(a, nil), unix.ENOENT)
}

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	n := port(t)
	tcp, file := address(t, "tcp://127.0.0.1:%d", n), address(t, "unix://%s/s", dir)
	s, u := bind(t, tcp), bind(t, file)
	for _, c := range []struct {
		fd   int
		id   string
		a    spec.ListenAddress
		want string
	}{
		{s.FD, "", address(t, "tcp://localhost:%d", n), ""}, // whatever it stands for now
		{s.FD, "", address(t, "tcp://127.0.0.1:%d", n+1), "what was kept listens on 127.0.0.1:" + strconv.Itoa(n)},
		{s.FD, "", address(t, "tcp://:%d", n), "what was kept listens on"},
		{s.FD, "", address(t, "tcp://127.0.0.2:%d", n), "what was kept listens on"},
		{s.FD, "", file, "what was kept listens on"},
		{u.FD, u.ID, tcp, "what was kept listens on " + file.Path},
		{u.FD, u.ID, address(t, "unix://%s/t", dir), "what was kept listens on " + file.Path},
		{u.FD, "0-0", file, "removed or replaced"},
		{u.FD, u.ID, address(t, "unix://%s/s?mode=0600", dir), ""},
	} {
		if err := Check(c.fd, c.id, c.a); c.want != "" {
			wantError(t, err, nil, c.want)
		} else if err != nil {
			t.Error(err)
		}
	}
	if err := os.Remove(filepath.Join(dir, "s")); err != nil {
		t.Fatal(err)
	}
	wantError(t, Check(u.FD, u.ID, file), unix.ENOENT, "its file was removed or replaced")
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	wantError(t, Check(int(null.Fd()), "", tcp), unix.ENOTSOCK, "no socket")
	idle, err := open(unix.AF_INET)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFD(idle)
	wantError(t, Check(idle, "", tcp), nil, "does not listen")
}

func TestHolders(t *testing.T) {
	if got := holders(map[string]bool{"1": true}); got != nobodyKnown {
		t.Error(got)
	}
	if got := describe(1 << 30); got != "pid 1073741824" {
		t.Error(got)
	}
	if got := clean("a\nb\x1b"); got != "a?b?" {
		t.Error(got)
	}
	for text, want := range map[string]string{
		"0100007F:1F90": "127.0.0.1:8080", "00000000000000000000000001000000:0050": "[::1]:80", "": "", "xx:1": "", "0100:1": "", "0100007F:": "", "0100007F0100007F:1": "",
	} {
		got, ok := parseAddr(text)
		if ok != (want != "") || ok && got.String() != want {
			t.Errorf("%q = %s, %v", text, got, ok)
		}
	}
}
