package cmd_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"nines/testdata/testkit"
)

// complete has real shells complete what is typed, with the installed scripts
// and the names that a running supervisor knows.
func complete(t *testing.T, prefix string) {
	dir, err := os.MkdirTemp("", "nines")
	if err != nil {
		t.Fatal(err)
	}
	r := &running{dir: dir, bin: prefix + "/bin"}
	t.Cleanup(func() { r.cleanUp(t) })
	for name, text := range map[string]string{
		"nines.hcl":  "service \"alpha\" {\n  command   = [\"sleep\", \"1000\"]\n  instances = 2\n}\nservice \"beta\" {\n  command = [\"sleep\", \"1000\"]\n}\n",
		"other.hcl":  "x",
		"other.text": "x",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	env := []string{"PATH=" + prefix + "/bin:" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir, "TERM=dumb", "LC_ALL=C",
		"NINES_RUNTIME_DIR=" + dir + "/run", "NINES_STATE_DIR=" + dir + "/state", "NINES_LOG_DIR=" + dir + "/log"}
	r.cmd = exec.Command(prefix+"/bin/nines-init", "-f", "nines.hcl")
	r.cmd.Dir, r.cmd.Env, r.cmd.Stdout, r.cmd.Stderr = dir, env, &r.out, &r.out
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.done = make(chan error, 1)
	go func() { r.done <- r.cmd.Wait() }()
	waitFor(t, "the supervisor answers", func() error {
		_, err := r.client().Status(t.Context())
		return err
	})

	// What is typed before the tab key, and what the command line is then.
	lines := [][2]string{
		{"nines restar", "restart"},
		{"nines stop al", "stop alpha"},
		{"nines stop beta/", "stop beta/0"},
		{"nines signal beta SIGUSR1", "signal beta SIGUSR1"},
		{"nines signal beta SIGT", "signal beta SIGTERM"},
		{"nines check o", "check other.hcl"}, // not other.text
		{"nines up -f ot", "up -f other.hcl"},
		{"nines completion ba", "completion bash"},
		{"nines status --js", "status --json"},
	}
	// The shell calls this in the place of the program, so that a line can be
	// entered to see what it has become.
	probe := "PS1=; nines() { case $1 in __*) command nines \"$@\" ;; *) echo \"GOT<$*>\" ;; esac; }\n"
	t.Run("bash", func(t *testing.T) {
		const helpers = "/usr/share/bash-completion/bash_completion"
		if _, err := os.Stat(helpers); err != nil {
			t.Skip("skipped: package bash-completion is not installed")
		}
		s := startShell(t, dir, env, "bash", "--norc", "--noprofile", "-i")
		s.write("source " + helpers + "; source " + prefix + "/share/bash-completion/completions/nines\n" + probe)
		s.lines(lines)
	})
	t.Run("zsh", func(t *testing.T) {
		s := startShell(t, dir, env, "zsh", "-f", "-i")
		s.write("fpath=(" + prefix + "/share/zsh/site-functions $fpath); autoload -Uz compinit; compinit -u -D\n" + probe)
		s.lines(lines)
	})
	t.Run("fish", func(t *testing.T) {
		if _, err := exec.LookPath("fish"); err != nil {
			t.Skip("skipped: fish is not installed")
		}
		for _, l := range lines {
			want := l[1][strings.LastIndex(l[1], " ")+1:]
			waitFor(t, "fish completes "+l[0], func() error {
				cmd := exec.CommandContext(t.Context(), "fish", "--no-config", "-c", "source "+prefix+"/share/fish/vendor_completions.d/nines.fish; complete -C '"+l[0]+"'")
				cmd.Dir, cmd.Env = dir, env
				out, err := cmd.CombinedOutput()
				if err == nil && !strings.HasPrefix(string(out), want) {
					err = fmt.Errorf("to %q", out)
				}
				return err
			})
		}
	})
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-r.done; err != nil {
		t.Errorf("nines-init ended with %v\n%s", err, r.out.String())
	}
	r.cmd = nil
}

// shell is an interactive one on a pseudo terminal.
type shell struct {
	t     *testing.T
	name  string
	outer *os.File
	out   testkit.Output
}

func startShell(t *testing.T, dir string, env []string, argv ...string) *shell {
	t.Helper()
	if _, err := exec.LookPath(argv[0]); err != nil {
		t.Skipf("skipped: %s is not installed", argv[0])
	}
	outer, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	n, err := ptyNumber(outer)
	if err != nil {
		t.Fatal(err)
	}
	inner, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, env, inner, inner, inner
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	inner.Close()
	s := &shell{t: t, name: argv[0], outer: outer}
	read := make(chan struct{})
	go func() {
		defer close(read)
		buf := make([]byte, 4096)
		for {
			k, err := outer.Read(buf)
			if _, werr := s.out.Write(buf[:k]); err != nil || werr != nil {
				return // EIO: the shell has ended
			}
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		<-read
		outer.Close()
		if t.Failed() {
			t.Logf("%s showed:\n%s", s.name, s.out.String())
		}
	})
	return s
}

func (s *shell) write(text string) {
	s.t.Helper()
	if _, err := s.outer.WriteString(text); err != nil {
		s.t.Fatal(err)
	}
}

// lines types each line, the tab key, and enter, until it has become what is
// wanted: on a busy machine the supervisor may answer too late for one tab.
func (s *shell) lines(lines [][2]string) {
	s.t.Helper()
	for _, l := range lines {
		typed, want := l[0], "GOT<"+l[1]+">"
		waitFor(s.t, s.name+" completes "+typed, func() error {
			from := len(s.out.String())
			s.write(typed + "\t\n")
			for end := time.Now().Add(patience / 4); time.Now().Before(end); <-time.After(2 * time.Millisecond) {
				got := s.out.String()[from:]
				if i := strings.Index(got, "GOT<"); i >= 0 && strings.Contains(got[i:], ">") {
					if got = strings.ReplaceAll(got[i:], " >", ">"); !strings.HasPrefix(got, want) {
						return fmt.Errorf("to %q", got)
					}
					return nil
				}
			}
			return errors.New("to nothing")
		})
	}
}
