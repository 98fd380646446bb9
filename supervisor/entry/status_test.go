package entry

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// exit runs nines-init to its end, with nothing but its status to show.
func exit(t *testing.T, which func() (string, error), args ...string) (code int, stderr string) {
	t.Helper()
	cmd := exec.Command(program(t, which), args...)
	var errs strings.Builder
	cmd.Stderr = &errs
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), errs.String()
}

func TestEveryExitCode(t *testing.T) {
	for code := range 256 {
		n := strconv.Itoa(code)
		if got, errs := exit(t, binary, "--", "sh", "-c", "exit "+n); got != code || errs != "" {
			t.Errorf("exit %d: %d, %q", code, got, errs)
		}
		other := strconv.Itoa(255 - code)
		if got, errs := exit(t, binary, "-e", other, "-e"+n, "--", "sh", "-c", "exit "+n); got != 0 || errs != "" {
			t.Errorf("exit %d with -e %d: %d, %q", code, code, got, errs)
		}
	}
	if got, _ := exit(t, binary, "-e", "3", "--", "sh", "-c", "exit 4"); got != 4 {
		t.Errorf("-e 3, exit 4: %d", got)
	}
	if got, _ := exit(t, binary, "-e143", "--", "sh", "-c", "kill -TERM $$"); got != 0 {
		t.Errorf("-e 143, killed by SIGTERM: %d", got)
	}
}

func TestSignalDeaths(t *testing.T) {
	for _, sig := range []unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGABRT, unix.SIGKILL, unix.SIGSEGV, unix.SIGTERM, unix.SIGPROF, 64} {
		if got, errs := exit(t, binary, "--", "sh", "-c", "kill -"+strconv.Itoa(int(sig))+" $$"); got != 128+int(sig) || errs != "" {
			t.Errorf("%s: %d, %q", signalName(sig), got, errs)
		}
	}
}

func TestCannotRun(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plain := write("plain", "#!/bin/sh\n", 0o644)
	garbage := write("garbage", "neither\x00program", 0o755)
	lost := write("lost", "#!/no/such/interpreter\n", 0o755)
	write("works", "#!/bin/sh\nexit 5\n", 0o755)
	hidden := filepath.Join(dir, "sub")
	if err := os.Mkdir(hidden, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		code int
		says string
	}{
		{"no-such-command", 127, "no such file or directory: give its path"},
		{"/no/such/command", 127, "no such file or directory: give its path"},
		{plain + "/x", 127, "not a directory: give its path"},
		{"", 127, "no such file or directory: give its path"},
		{lost, 127, "no such file or directory: give its path, or look at PATH; a script may lack its interpreter"},
		{plain, 126, "permission denied: it must be a file"},
		{"plain", 126, "permission denied: it must be a file"},
		{dir, 126, "permission denied: it must be a file"},
		{"sub", 126, "permission denied: it must be a file"},
		{garbage, 126, "exec format error: it is not for this machine"},
		{"works", 5, ""},
		{"./works", 5, ""},
	} {
		for _, ignore := range []bool{false, true} { // true: by way of the shim
			argv := []string{program(t, binary), "-e", "126", "-e", "127", "--", c.name}
			if ignore {
				argv = append(role(t, "given", "1000", "0"), argv...) // SIGPIPE
			}
			cmd := exec.Command(argv[0], argv[1:]...)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "PATH=/no/such:"+plain+":"+dir)
			out, err := cmd.CombinedOutput()
			if cmd.ProcessState == nil {
				t.Fatal(err)
			}
			prefix := "nines-init: cannot run " + strconv.Quote(c.name) + ": " + c.says
			if code := cmd.ProcessState.ExitCode(); code != c.code || c.says == "" && len(out) != 0 || c.says != "" && !strings.HasPrefix(string(out), prefix) {
				t.Errorf("%q (shim: %v): %d, %q; want %d, %q", c.name, ignore, code, out, c.code, prefix)
			}
		}
	}
}

func TestPathIsSearchedAsExecvpDoes(t *testing.T) {
	cmd := exec.Command(program(t, binary), "--", "sh", "-c", "exit 6")
	cmd.Env = []string{"A=b"}
	if err := cmd.Run(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 6 {
		t.Errorf("without PATH: %v", err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "here"), []byte("#!/bin/sh\nexit 8\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command(program(t, binary), "--", "here")
	cmd.Dir, cmd.Env = dir, []string{"PATH="}
	if err := cmd.Run(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 8 {
		t.Errorf("an empty PATH is the working directory: %v", err)
	}
}
