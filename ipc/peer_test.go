package ipc

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

func TestJudge(t *testing.T) {
	const us, group, file = 1000, 2000, 3000
	with := func(mode uint32) accessPolicy {
		return accessPolicy{uid: us, group: group, hasGroup: true, mode: mode, gid: group}
	}
	without := func(mode uint32) accessPolicy { return accessPolicy{uid: us, mode: mode, gid: file} }
	other := credentials{Caller: Caller{UID: 5, GID: 5}}
	for _, tc := range []struct {
		name   string
		policy accessPolicy
		who    credentials
		want   access
	}{
		{"root", with(0o600), credentials{Caller: Caller{UID: 0, GID: 5}}, accessWrite},
		{"our user", with(0o600), credentials{Caller: Caller{UID: us, GID: 5}}, accessWrite},
		{"primary group", with(0o660), credentials{Caller: Caller{UID: 5, GID: group}}, accessWrite},
		{"supplementary group", with(0o660), credentials{Caller: Caller{UID: 5, GID: 5}, Groups: []uint32{7, group}}, accessWrite},
		{"root's group is not root", with(0o600), credentials{Caller: Caller{UID: 5, GID: 0}}, accessNone},
		{"other, mode 0600", with(0o600), other, accessNone},
		{"other, mode 0660", with(0o660), other, accessNone},
		{"other, mode 0666", with(0o666), other, accessRead},
		{"other may connect but not read", with(0o622), other, accessNone},
		{"no control group: group 0 is no member", without(0o660), other, accessNone},
		{"no control group: group of the file may read", without(0o660), credentials{Caller: Caller{UID: 5, GID: file}}, accessRead},
		{"no control group: group of the file, 0600", without(0o600), credentials{Caller: Caller{UID: 5, GID: file}}, accessNone},
		{"group without read bit does not fall to others", without(0o606), credentials{Caller: Caller{UID: 5, GID: file}}, accessNone},
		{"zero gid is no group", accessPolicy{uid: us, mode: 0o600}, credentials{Caller: Caller{UID: 5}}, accessNone},
	} {
		if got := tc.policy.judge(&tc.who); got.access != tc.want || got.Caller != tc.who.Caller {
			t.Errorf("%s: %+v, want access %d", tc.name, got, tc.want)
		}
	}
}

func TestCallerReachesTheBackend(t *testing.T) {
	f := &fake{}
	if _, err := NewClient(serve(t, f)).Do(t.Context(), "s0", VerbStart, Command{}); err != nil {
		t.Fatal(err)
	}
	want := Caller{PID: os.Getpid(), UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}
	if got := f.seen()[0].by; got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestReaderMayOnlyRead(t *testing.T) {
	f := &fake{}
	reader := credentials{Caller: Caller{UID: 4242, GID: 4242}}
	many := Limits{MaxOtherConns: 256, MaxReaderConns: 256, MaxUserConns: 512, ReaderBurst: 1000}
	socket := serve(t, f, fakeCaller(reader), limits(many), func(c *ServerConfig) { c.Mode = 0o666 })
	for _, r := range routes() {
		path := strings.ReplaceAll(r.path, "{}", "s0")
		status, body := ask(t, socket, r.method, path, "")
		if r.access == accessRead {
			if status != 200 {
				t.Errorf("%s %s: %d %s", r.method, path, status, body)
			}
			continue
		}
		// The same answer whether the service exists or not, the body is right or not.
		for _, p := range []string{path, strings.ReplaceAll(r.path, "{}", "nope")} {
			for _, b := range []string{"", "{garbage"} {
				if status, body = ask(t, socket, r.method, p, b); status != 403 || errorOf(t, body) != *forbiddenError() {
					t.Errorf("%s %s: %d %s", r.method, p, status, body)
				}
			}
		}
	}
	if n := len(f.seen()); n > 0 {
		t.Errorf("%d commands of a reader reached the backend", n)
	}
}

func TestRefusedCallerLearnsNothing(t *testing.T) {
	f := &fake{}
	socket := serve(t, f, fakeCaller(credentials{Caller: Caller{UID: 4242, GID: 4242}}))
	answers := map[string]bool{}
	for _, req := range [][2]string{{"GET", "/v1/status"}, {"GET", "/v1/services/s0"}, {"GET", "/nowhere"}, {"POST", "/v1/shutdown"}, {"BREW", "/v1/status"}} {
		status, body := ask(t, socket, req[0], req[1], "")
		if status != 403 {
			t.Errorf("%v: %d", req, status)
		}
		answers[body] = true
	}
	if len(answers) != 1 {
		t.Errorf("different answers: %v", answers)
	}
	_, err := NewClient(socket).Status(t.Context())
	if e := (*Error)(nil); !errors.As(err, &e) || e.Code != CodeForbidden || e.Code.ExitCode() != 4 {
		t.Errorf("client: %v", err)
	}
}

func TestUnknownCallerIsRefused(t *testing.T) {
	socket := serve(t, &fake{}, func(c *ServerConfig) {
		c.credentials = func(net.Conn) (*credentials, error) { return nil, errors.New("no credentials") }
	})
	if status, _ := ask(t, socket, "GET", "/v1/status", ""); status != 403 {
		t.Errorf("%d", status)
	}
}

func TestAnotherUser(t *testing.T) {
	needRoot(t)
	for _, tc := range []struct {
		mode         uint32
		method, path string
		want         string
	}{
		{0o600, "GET", "/v1/status", "dial: "},
		{0o666, "GET", "/v1/status", "200 "},
		{0o666, "POST", "/v1/services/s0/stop", "403 "},
		{0o666, "POST", "/v1/shutdown", "403 "},
		{0o622, "GET", "/v1/status", "403 "},
	} {
		f := &fake{}
		dir := publicDir(t)
		socket := serveIn(t, dir, f, func(c *ServerConfig) { c.Mode = tc.mode })
		got := clientOutput(t, nil, socket, tc.method, tc.path)
		if !strings.HasPrefix(got, tc.want) {
			t.Errorf("mode %o: %s %s: %q, want %q…", tc.mode, tc.method, tc.path, got, tc.want)
		}
		if len(f.seen()) > 0 {
			t.Errorf("mode %o: it reached the backend", tc.mode)
		}
	}
}

// TestControlGroup: nobody, with a supplementary group, is a member; nobody
// without it cannot even connect.
func TestControlGroup(t *testing.T) {
	needRoot(t)
	const gid = 54321
	for _, member := range []bool{true, false} {
		f := &fake{}
		socket := serveIn(t, publicDir(t), f, func(c *ServerConfig) { c.Mode, c.Group = 0o660, strconv.Itoa(gid) })
		var groups []uint32
		want := "dial: "
		if member {
			groups, want = []uint32{11, gid, 12}, "200 "
		}
		if got := clientOutput(t, groups, socket, "POST", "/v1/services/s0/stop"); !strings.HasPrefix(got, want) {
			t.Errorf("member %v: %q, want %q…", member, got, want)
		}
		if member && (len(f.seen()) != 1 || f.seen()[0].by.UID != 65534) {
			t.Errorf("calls: %+v", f.seen())
		}
	}
}

// clientOutput is what the test binary prints as a client that is nobody, with
// these supplementary groups.
func clientOutput(t *testing.T, groups []uint32, socket, method, path string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), publicCopy(t))
	cmd.Env = []string{asClient + "=" + socket + " " + method + " " + path}
	cmd.Dir = "/"
	cmd.SysProcAttr = nobody(groups...)
	out, err := cmd.CombinedOutput()
	if err != nil && !strings.HasPrefix(string(out), "dial: ") {
		t.Fatalf("client as another user: %v\n%s", err, out)
	}
	return string(out)
}

func TestPeerGroups(t *testing.T) {
	l, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dial(t, l.Addr().String())
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cred, err := readCredentials(c)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	if len(cred.Groups) != len(want) {
		t.Errorf("groups %v, want %v", cred.Groups, want)
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if _, err := readCredentials(a); err == nil {
		t.Error("a pipe has credentials")
	}
}
