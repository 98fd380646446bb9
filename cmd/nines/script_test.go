package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"nines/ipc"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"nines": func() { os.Exit(run(os.Args[1:])) },
		// What `nines up` becomes, for the tests of up.
		"nines-init": func() {
			fmt.Println("args:", strings.Join(os.Args[1:], " "))
			fmt.Println("env:", os.Getenv("NINES_UP"), os.Getenv("NINES_LOG_STDOUT"))
		},
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			run := filepath.Join(env.WorkDir, "run")
			env.Setenv("NINES_RUNTIME_DIR", run)
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("TZ", "UTC")
			env.Values[fakeKey{}] = &scriptState{}
			return os.Mkdir(run, 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"supervisor": cmdSupervisor, "calls": cmdCalls, "exits": cmdExits, "asked": cmdAsked,
		},
	})
}

type fakeKey struct{}

// scriptState is the fake supervisor of one script.
type scriptState struct {
	backend *fakeBackend
	stop    func() error
}

func state(ts *testscript.TestScript) *scriptState {
	s, ok := ts.Value(fakeKey{}).(*scriptState)
	if !ok {
		ts.Fatalf("no state")
	}
	return s
}

// cmdSupervisor: `supervisor start|stop`.
func cmdSupervisor(ts *testscript.TestScript, _ bool, args []string) {
	s := state(ts)
	if len(args) != 1 {
		ts.Fatalf("usage: supervisor start|stop")
	}
	switch args[0] {
	case "start":
		path := filepath.Join(ts.Getenv("NINES_RUNTIME_DIR"), "control.sock")
		l, err := ipc.Listen(path, 0o600, "")
		ts.Check(err)
		s.backend = newFakeBackend()
		srv := ipc.NewServer(ipc.ServerConfig{Backend: s.backend, Path: path, Mode: 0o600, UID: uint32(os.Getuid())})
		served := make(chan error, 1)
		go func() { served <- srv.Serve(l) }()
		// By the script, by the backend when it is shut down, and at the end.
		s.stop = sync.OnceValue(func() error {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			return errors.Join(srv.Shutdown(ctx), <-served)
		})
		s.backend.ended = s.stop
		ts.Defer(func() {
			if err := s.stop(); err != nil {
				ts.Logf("stop: %v", err)
			}
		})
	case "stop":
		ts.Check(s.stop())
	default:
		ts.Fatalf("unknown: supervisor %s", args[0])
	}
}

// cmdCalls: `calls PATTERN…`: exactly these calls were made, in any order,
// since the last `calls`.
func cmdCalls(ts *testscript.TestScript, _ bool, args []string) {
	got := state(ts).backend.taken()
	if len(got) != len(args) {
		ts.Fatalf("calls: %q, want %q", got, args)
	}
	for _, want := range args {
		re := regexp.MustCompile("^(?:" + want + ")$")
		found := false
		for i := range got {
			if re.MatchString(got[i]) {
				got = append(got[:i], got[i+1:]...)
				found = true
				break
			}
		}
		if !found {
			ts.Fatalf("no call %q in %q", want, got)
		}
	}
}

// cmdAsked: `asked`: waits until the fake has been called.
func cmdAsked(ts *testscript.TestScript, _ bool, _ []string) {
	b := state(ts).backend
	for end := time.Now().Add(20 * time.Second); !b.busy(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			ts.Fatalf("nothing was asked")
		}
	}
}

// cmdExits: `exits CODE program args…`.
func cmdExits(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: exits CODE program args…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var e *exec.ExitError
		if !errors.As(err, &e) {
			ts.Fatalf("%v", err)
		}
		got = e.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit %d, want %d", got, want)
	}
}
