package load

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestHostLimits(t *testing.T) {
	root, self := t.TempDir(), filepath.Join(t.TempDir(), "cgroup")
	put := func(name, text string) {
		t.Helper()
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(self, []byte("4:memory:/x\n0::/a/b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	put("a/memory.max", "1048576\n")
	put("a/b/memory.max", "max\n")
	put("a/b/cpu.max", "150000 100000\n")
	put("a/cpu.max", "max 100000\n")
	h := &Host{CPUs: 8, Memory: 1 << 30}
	h.limit(root, self)
	if h.CPUs != 2 || h.Memory != 1<<20 {
		t.Errorf("%+v", h)
	}
	h = &Host{CPUs: 8, Memory: 1 << 30}
	h.limit(filepath.Join(root, "none"), "/nowhere")
	if h.CPUs != 8 || h.Memory != 1<<30 {
		t.Errorf("%+v", h)
	}
	put("a/b/cpu.max", "garbage")
	put("meminfo", "MemFree: 1 kB\n")
	h.limitBy(filepath.Join(root, "a/b"))
	for _, file := range []string{"/nowhere", filepath.Join(root, "meminfo")} {
		if _, err := totalMemory(file); err == nil {
			t.Errorf("%s has a total", file)
		}
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWrite(t *testing.T) {
	_, diags := loadText(t, "service \"web\" {\n\tcommand = [\"x\"]\n\tnice = 99 # ü\n}\n")
	var b bytes.Buffer
	if err := diags.Write(&b, true); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); !strings.Contains(got, "x.hcl:3:9: \x1b[31merror:\x1b[0m nice must be from -20 to 19\n    \tnice = 99 # ü\n    \t       \x1b[32m^^\x1b[0m\n") {
		t.Errorf("%q", got)
	}
	if err := diags.Write(brokenWriter{}, false); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("%v", err)
	}
	data, err := json.Marshal(diags)
	if err != nil || !strings.Contains(string(data), `"severity":"error","code":"bad_value","summary":"nice must be from -20 to 19"`) {
		t.Errorf("%s %v", data, err)
	}
}

func TestNearest(t *testing.T) {
	for _, test := range []struct{ given, want string }{
		{"comand", "command"}, {"Command", "command"}, {"crash-loop", "crash_loop"}, {"cmomand", "command"}, {"xyzzy", ""}, {"", ""}, {strings.Repeat("x", 100), ""},
	} {
		if got := nearest(test.given, []string{"command", "crash_loop", "user"}); got != test.want {
			t.Errorf("nearest to %q is %q, want %q", test.given, got, test.want)
		}
	}
}

// TestStatic: what may stand in an attribute that is the same for all instances.
func TestStatic(t *testing.T) {
	s := oneService(t, "instances = min(host.cpus, tonumber(env.N))\nuser = coalesce(env.EMPTY, \"root\")\nstop {\n  timeout = \"${local.n}s\"\n}\n}\nlocals {\n  n = 5")
	if s.Instances != 3 || s.Process.User != "root" || s.Stop.Timeout.Seconds() != 5 {
		t.Errorf("%d %q %v", s.Instances, s.Process.User, s.Stop.Timeout)
	}
	for _, test := range []struct{ body, code string }{
		{"nice = port.http\nport \"http\" {\n}", "not_static"},
		{"nice = release.id", "not_static"},
		{"nice = env.UNSET + 1", "expression"},
		{"nice = 1 / 0", "too_large"},
		{"needs = [env.N]", "not_static"},
		{"instances = 1e30", "bad_value"},
		{"instances = -1", "bad_value"},
		{"command = [\"a\\u0000b\"]", "bad_value"},
		{"env = { \"A=B\" = 1 }", "bad_value"},
		{"env = { A = null }", "wrong_type"},
		{"env = { NINES_X = 1 }", "bad_value"},
	} {
		_, diags := loadText(t, "service \"web\" {\n"+withCommand(test.body)+"\n}\n")
		wantCode(t, diags, test.code, 0)
	}
	_, diags := loadText(t, "supervisor {\n  state_dir = service.name\n}\nservice \"web\" {\n  command = [\"x\"]\n}\n")
	wantCode(t, diags, "not_static", 2)
	_, diags = loadText(t, "check \"x\" {\n  tcp {\n    address = instance.id\n  }\n}\nservice \"web\" {\n  command = [\"x\"]\n}\n")
	wantCode(t, diags, "not_static", 3)
}

// TestIsolateWarning: what an isolate check will do instead is said beforehand.
func TestIsolateWarning(t *testing.T) {
	const check = "check \"c\" {\n  on_failure = \"isolate\"\n  stall {\n  }\n}\n"
	for body, want := range map[string]bool{
		check: false, check + "port \"p\" {\n}\n": false, check + "port \"p\" {\n  base = 80\n}\n": true, check + "data {\n  paths = [\"/d\"]\n}\n": true,
	} {
		s, diags := loadText(t, "service \"web\" {\n"+withCommand(body)+"}\n")
		got := false
		for _, d := range diags {
			got = got || d.Code == "isolate_restarts"
		}
		if got != want || s == nil || s.Services[0].Isolate == nil {
			t.Errorf("%s: %v\n%s", body, got, render(t, diags))
		}
	}
}

// TestPortsOverlap: inside a longer range too.
func TestPortsOverlap(t *testing.T) {
	text := ""
	for name, at := range map[string]string{"a": "instances = 100\n port \"p\" {\n base = 1000\n }", "b": "port \"p\" {\n base = 1010\n }", "c": "port \"p\" {\n base = 1050\n }", "d": "port \"p\" {\n base = 1100\n }"} {
		text += "service \"" + name + "\" {\n command = [\"x\"]\n " + at + "\n}\n"
	}
	_, diags := loadText(t, text)
	if len(diags) != 2 || diags[0].Code != "duplicate" || diags[1].Code != "duplicate" {
		t.Errorf("%s", render(t, diags))
	}
}
