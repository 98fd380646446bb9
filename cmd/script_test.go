package cmd_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"nines/ipc"
	"nines/supervisor"
	"nines/testdata/testkit"
)

// TestScript runs testdata/script/*.txtar against the real four binaries and
// misbehaving programs. Each script has its own runtime, state and log folder
// and so its own cgroup; they run side by side. Commands beside testscript's:
//
//	up [-uid N] [-nproc N] [-env K=V]… [flags]
//	                                   start nines-init (nines.hcl) and wait until the control socket answers
//	wait-state SERVICE[/N] STATE       wait until the state is that (20 s at most)
//	wait-status 'JSON path' VALUE      the same for any field: services.0.instances.0.restarts,
//	                                   or of each in a list: services.*.name '[web db]'
//	wait-event KIND [SERVICE[/N]] [N]  wait until N (1) such events are kept
//	wait-gone                          wait until nothing marked as ours lives
//	wait-file FILE                     wait until FILE exists and is not empty
//	killpid SIGNAL FILE|SERVICE/N|supervisor|keeper|log
//	down [CODE]                        SIGTERM to nines-init; it must exit with CODE (0)
//	ended CODE                         nines-init must exit by itself with CODE
//	saved NAME SERVICE/N|…             keep a pid, once there is one, in $NAME
//
// $CALM is for how many seconds checks_calm.txtar loads the machine (NINES_CALM, 10).
//
// Conditions: [root], [fuse] (root, and there is /dev/fuse), [postgres] (its programs are installed; $PGBIN is where).
func TestScript(t *testing.T) {
	bin := binaries(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			// The socket's path must fit in sun_path, and a service's user must
			// reach it: so not below $WORK.
			short, err := os.MkdirTemp("", "nines")
			if err != nil {
				return err
			}
			if err := os.Chmod(short, 0o755); err != nil {
				return err
			}
			r := &running{dir: short, bin: bin}
			e.Values[runningKey{}] = r
			e.Defer(func() { r.cleanUp(t) })
			e.Setenv("PATH", bin+":"+os.Getenv("PATH"))
			e.Setenv("BIN", bin)
			e.Setenv("NINES_RUNTIME_DIR", short+"/run")
			e.Setenv("NINES_STATE_DIR", short+"/state")
			e.Setenv("NINES_LOG_DIR", short+"/log")
			e.Setenv("LOGS", short+"/log")
			e.Setenv("RUN", short+"/run")
			e.Setenv("TMPDIR", short)
			e.Setenv("PGBIN", postgresBin())
			e.Setenv("NO_COLOR", "1")
			e.Setenv("CALM", cmp.Or(os.Getenv("NINES_CALM"), "10"))
			e.Setenv("GORACE", "halt_on_error=1 exitcode=66")
			return nil
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "root":
				return os.Geteuid() == 0, nil
			case "fuse":
				_, err := os.Stat("/dev/fuse")
				return os.Geteuid() == 0 && err == nil, nil
			case "postgres":
				return postgresBin() != "", nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"up":          cmdUp,
			"wait-state":  cmdWaitState,
			"wait-status": cmdWaitStatus,
			"wait-event":  cmdWaitEvent,
			"wait-gone":   cmdWaitGone,
			"wait-file":   cmdWaitFile,
			"killpid":     cmdKill,
			"down":        cmdDown,
			"ended":       cmdEnded,
			"saved":       cmdSaved,
		},
	})
}

// postgresBin is where Debian puts the newest PostgreSQL's programs; "": nowhere.
func postgresBin() string {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		return ""
	}
	return filepath.Dir(found[len(found)-1])
}

// patience bounds every wait of a script; nothing passes because of it.
const patience = 20 * time.Second

// buildOnce builds the binaries and the test programs once a test run.
var buildOnce = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "nines-bin")
	if err != nil {
		return "", err
	}
	for _, args := range [][]string{
		{"nines/cmd/nines"}, {"nines/cmd/nines-exec"}, {"nines/cmd/nines-log"},
		{"-ldflags=-X=runtime.godebugDefault=asyncpreemptoff=1 -E=nines_start", "nines/cmd/nines-init"},
		{"nines/testdata/programs/misbehave"}, {"nines/testdata/web"}, {"nines/testdata/notify"},
	} {
		cmd := exec.Command("go", append([]string{"build", "-o", dir + "/"}, args...)...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return dir, fmt.Errorf("go build %v: %w\n%s", args, err, out)
		}
	}
	script, err := os.ReadFile("../testdata/notify/service.sh")
	if err == nil {
		err = os.WriteFile(dir+"/service.sh", script, 0o755)
	}
	if err != nil {
		return dir, err
	}
	// A service's user must reach the programs.
	return dir, os.Chmod(dir, 0o755)
})

func binaries(t *testing.T) string {
	t.Helper()
	dir, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestMain(m *testing.M) {
	if v := os.Getenv(asAttacker); v != "" {
		os.Exit(beAttacker(v))
	}
	code := m.Run()
	if dir, err := buildOnce(); err == nil {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

type runningKey struct{}

// running is the nines-init of one script.
type running struct {
	dir, bin string
	faulty   string // the nines that it supervises with; "": the one beside nines-init
	cmd      *exec.Cmd
	out      testkit.Output
	done     chan error
}

func (r *running) client() *ipc.Client { return ipc.NewClient(r.dir + "/run/control.sock") }

func (r *running) cleanUp(t *testing.T) {
	if r.cmd != nil {
		select {
		case <-r.done:
		default:
			r.cmd.Process.Kill()
			<-r.done
		}
	}
	// Whatever a failed script left: found by the mark of its own runtime folder.
	for range 100 {
		left := r.marked()
		if len(left) == 0 {
			break
		}
		for _, pid := range left {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		<-time.After(10 * time.Millisecond)
	}
	if t.Failed() && r.out.String() != "" {
		t.Logf("nines-init said:\n%s", r.out.String())
	}
	os.RemoveAll(r.dir)
}

// marked are the processes that are ours by their environment: supervisor and
// log process by their folder, every service by its mark.
func (r *running) marked() []int {
	folder := []byte("TMPDIR=" + r.dir + "\x00")
	mark := []byte("NINES_INCARNATION=" + supervisor.Mark(r.dir+"/run"))
	var pids []int
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		env, err := os.ReadFile("/proc/" + e.Name() + "/environ")
		if err == nil && (bytes.Contains(env, folder) || bytes.Contains(env, mark)) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func of(ts *testscript.TestScript) *running { return ts.Value(runningKey{}).(*running) }

func plain(ts *testscript.TestScript, neg bool, name string) {
	if neg {
		ts.Fatalf("unsupported: ! %s", name)
	}
}

func cmdUp(ts *testscript.TestScript, neg bool, args []string) {
	plain(ts, neg, "up")
	r := of(ts)
	if r.cmd != nil {
		ts.Fatalf("nines-init already runs")
	}
	argv := []string{r.bin + "/nines-init"}
	dir, uid := ts.MkAbs("."), 0
	var vars []string
	for len(args) > 1 && slices.Contains([]string{"-uid", "-nproc", "-env"}, args[0]) {
		switch args[0] {
		case "-uid":
			n, err := strconv.Atoi(args[1])
			ts.Check(err)
			uid = n
		case "-nproc":
			argv = append([]string{"prlimit", "--nproc=" + args[1], "--"}, argv...)
		case "-env":
			vars = append(vars, args[1])
		}
		args = args[2:]
	}
	if len(args) == 0 {
		args = []string{"-f", "nines.hcl"}
	}
	r.out = testkit.Output{}
	r.cmd = exec.Command(argv[0], append(argv[1:], args...)...)
	if uid != 0 {
		// Another user cannot read below $WORK.
		spec, err := os.ReadFile(dir + "/nines.hcl")
		ts.Check(err)
		dir = r.dir
		ts.Check(os.WriteFile(dir+"/nines.hcl", spec, 0o644))
		ts.Check(os.Chown(dir, uid, uid))
		r.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	}
	r.cmd.Dir = dir
	r.cmd.Env = []string{"PATH=" + ts.Getenv("PATH"), "HOME=" + r.dir, "TMPDIR=" + r.dir,
		"NINES_RUNTIME_DIR=" + r.dir + "/run", "NINES_STATE_DIR=" + r.dir + "/state", "NINES_LOG_DIR=" + r.dir + "/log"}
	r.cmd.Env = append(r.cmd.Env, vars...)
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.out
	if err := r.cmd.Start(); err != nil {
		ts.Fatalf("%v", err)
	}
	r.done = make(chan error, 1)
	go func() { r.done <- r.cmd.Wait() }()
	r.until(ts, "the control socket answers", func() error {
		_, err := r.client().Status(context.Background())
		return err
	})
}

// until polls: what is waited for is observed from outside, as a user would.
func (r *running) until(ts *testscript.TestScript, what string, ok func() error) {
	deadline := time.Now().Add(patience)
	for {
		err := ok()
		if err == nil {
			return
		}
		select {
		case e := <-r.done:
			r.done <- e
			if err = ok(); err == nil {
				return
			}
			ts.Fatalf("waiting until %s: nines-init ended (%v):\n%s", what, e, r.out.String())
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			ts.Fatalf("waited %s until %s: %v\n%s", patience, what, err, r.out.String())
		}
	}
}

// waitFor is until for tests that are no scripts.
func waitFor(t *testing.T, what string, ok func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %s until %s: %v", patience, what, err)
		}
		<-time.After(10 * time.Millisecond)
	}
}

func cmdWaitState(ts *testscript.TestScript, neg bool, args []string) {
	plain(ts, neg, "wait-state")
	if len(args) != 2 {
		ts.Fatalf("usage: wait-state SERVICE[/N] STATE")
	}
	r := of(ts)
	r.until(ts, args[0]+" is "+args[1], func() error {
		st, err := r.client().Status(context.Background())
		if err != nil {
			return err
		}
		for _, s := range st.Services {
			if s.Name == args[0] {
				return want(s.State, args[1], s.Reason)
			}
			for _, in := range s.Instances {
				if in.ID == args[0] {
					return want(in.State, args[1], in.Reason)
				}
			}
		}
		return errors.New("no such service or instance")
	})
}

func want(got, want, reason string) error {
	if got != want {
		return fmt.Errorf("it is %s (%s)", got, reason)
	}
	return nil
}

func cmdWaitStatus(ts *testscript.TestScript, neg bool, args []string) {
	plain(ts, neg, "wait-status")
	if len(args) != 2 {
		ts.Fatalf("usage: wait-status PATH VALUE")
	}
	r := of(ts)
	r.until(ts, args[0]+" is "+args[1], func() error {
		st, err := r.client().Status(context.Background())
		if err != nil {
			return err
		}
		b, err := json.Marshal(st)
		if err != nil {
			return err
		}
		var v any
		if err := json.Unmarshal(b, &v); err != nil {
			return err
		}
		path, each, all := strings.Cut(args[0], ".*.")
		for key := range strings.SplitSeq(path, ".") {
			switch x := v.(type) {
			case map[string]any:
				v = x[key]
			case []any:
				i, err := strconv.Atoi(key)
				if err != nil || i >= len(x) {
					return fmt.Errorf("no element %q", key)
				}
				v = x[i]
			default:
				return fmt.Errorf("nothing at %q", key)
			}
		}
		if list, ok := v.([]any); ok && all {
			for i := range list {
				list[i] = list[i].(map[string]any)[each]
			}
		}
		return want(fmt.Sprint(v), args[1], "")
	})
}

func cmdWaitEvent(ts *testscript.TestScript, neg bool, args []string) {
	plain(ts, neg, "wait-event")
	if len(args) < 1 {
		ts.Fatalf("usage: wait-event KIND [SERVICE[/N]] [N]")
	}
	who, n := "", 1
	if len(args) > 1 {
		who = args[1]
	}
	if len(args) > 2 {
		var err error
		n, err = strconv.Atoi(args[2])
		ts.Check(err)
	}
	r := of(ts)
	r.until(ts, strings.Join(args, " "), func() error {
		have := 0
		err := r.client().Events(context.Background(), ipc.EventQuery{}, func(e ipc.Event) error {
			if e.Kind == args[0] && (who == "" || who == e.Service || who == e.Instance) {
				have++
			}
			return nil
		})
		if err == nil && have < n {
			err = fmt.Errorf("there are %d", have)
		}
		return err
	})
}

func cmdWaitGone(ts *testscript.TestScript, neg bool, args []string) {
	plain(ts, neg, "wait-gone")
	r := of(ts)
	r.until(ts, "nothing of it lives", func() error {
		if left := r.marked(); len(left) > 0 {
			return fmt.Errorf("pids %v live", left)
		}
		return nil
	})
}

func cmdWaitFile(ts *testscript.TestScript, neg bool, args []string) {
	plain(ts, neg, "wait-file")
	path := ts.MkAbs(args[0])
	of(ts).until(ts, path+" is there", func() error {
		fi, err := os.Stat(path)
		if err == nil && fi.Size() == 0 {
			err = errors.New("it is empty")
		}
		return err
	})
}

// pidOf waits for it: the log process may just be started again.
func (r *running) pidOf(ts *testscript.TestScript, name string) int {
	var pid int
	r.until(ts, name+" has a process", func() (err error) {
		pid, err = r.findPID(ts, name)
		return err
	})
	return pid
}

// findPID finds a pid by name: an instance, a process of ours, or a file.
func (r *running) findPID(ts *testscript.TestScript, name string) (int, error) {
	if name == "keeper" {
		return r.cmd.Process.Pid, nil
	}
	if name == "log" {
		for _, pid := range r.marked() {
			if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil && filepath.Base(exe) == "nines-log" {
				return pid, nil
			}
		}
		return 0, errors.New("nines-log does not run")
	}
	if b, err := os.ReadFile(ts.MkAbs(name)); err == nil {
		return strconv.Atoi(strings.TrimSpace(string(b)))
	}
	st, err := r.client().Status(context.Background())
	if err != nil {
		return 0, err
	}
	if name == "supervisor" {
		return st.Supervisor.PID, nil
	}
	for _, s := range st.Services {
		for _, in := range s.Instances {
			if in.ID == name && in.PID != 0 {
				return in.PID, nil
			}
		}
	}
	return 0, fmt.Errorf("no process is called %s", name)
}

func cmdKill(ts *testscript.TestScript, neg bool, args []string) {
	plain(ts, neg, "killpid")
	if len(args) != 2 {
		ts.Fatalf("usage: killpid SIGNAL WHO")
	}
	sig := map[string]syscall.Signal{"KILL": syscall.SIGKILL, "TERM": syscall.SIGTERM, "INT": syscall.SIGINT,
		"STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT, "SEGV": syscall.SIGSEGV, "HUP": syscall.SIGHUP}[args[0]]
	if sig == 0 {
		ts.Fatalf("unknown signal %s", args[0])
	}
	ts.Check(syscall.Kill(of(ts).pidOf(ts, args[1]), sig))
}

func cmdDown(ts *testscript.TestScript, neg bool, args []string) {
	plain(ts, neg, "down")
	ts.Check(of(ts).cmd.Process.Signal(syscall.SIGTERM))
	cmdEnded(ts, neg, append(args, "0")[:1])
}

func cmdEnded(ts *testscript.TestScript, neg bool, args []string) {
	plain(ts, neg, "ended")
	r := of(ts)
	code, err := strconv.Atoi(args[0])
	ts.Check(err)
	select {
	case <-r.done:
	case <-time.After(patience):
		ts.Fatalf("nines-init still runs after %s\n%s", patience, r.out.String())
	}
	r.done <- nil
	if got := r.cmd.ProcessState.ExitCode(); got != code {
		ts.Fatalf("nines-init exited with %d, want %d\n%s", got, code, r.out.String())
	}
	ts.Check(os.WriteFile(ts.MkAbs("nines-init.out"), []byte(r.out.String()), 0o644))
	r.cmd = nil
}

func cmdSaved(ts *testscript.TestScript, neg bool, args []string) {
	plain(ts, neg, "saved")
	if len(args) != 2 {
		ts.Fatalf("usage: saved NAME WHO")
	}
	r := of(ts)
	r.until(ts, args[1]+" has a process", func() error {
		pid, err := r.findPID(ts, args[1])
		ts.Setenv(args[0], strconv.Itoa(pid))
		return err
	})
}
