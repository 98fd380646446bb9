package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nines/supervisor/entry"
)

func TestParse(t *testing.T) {
	f, err := parse([]string{"-f", "a", "-fb", "--supervisor=/x/nines", "--runtime-dir", "r", "--socket", "s=1", "--state-dir=st", "--log-dir=l", "-v"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"-f", "a", "-f", "b", "--runtime-dir", "r", "--socket", "s=1", "--state-dir", "st", "--log-dir", "l"}
	if !slices.Equal(f.pass, want) || f.supervisor != "/x/nines" || f.runtimeDir != "r" || !f.verbose || f.help || f.version {
		t.Errorf("parse = %+v", f)
	}
	if f, err = parse([]string{"-f", "--socket"}); err != nil || !slices.Equal(f.pass, []string{"-f", "--socket"}) {
		t.Errorf("a value that looks like a flag: %+v, %v", f, err)
	}
	if f, err = parse(nil); err != nil || len(f.pass) != 0 {
		t.Errorf("nothing: %+v, %v", f, err)
	}
}

func TestParseCommand(t *testing.T) {
	f, err := parse(strings.Fields("-gsv -p TERM -pKILL -r TERM:INT -r15:0 -rRTMIN+1:64 -e 143 -e0 -- sleep -- -x"))
	if err != nil || f.command == nil {
		t.Fatalf("%+v, %v", f, err)
	}
	want := entry.Options{Argv: []string{"sleep", "--", "-x"}, Group: true, Subreaper: true, Verbose: true, DeathSignal: unix.SIGKILL,
		Rewrites: []entry.Rewrite{{From: unix.SIGTERM, To: unix.SIGINT}, {From: unix.SIGTERM}, {From: 35, To: 64}}, Success: []int{143, 0}}
	if !reflect.DeepEqual(*f.command, want) {
		t.Errorf("%+v, want %+v", *f.command, want)
	}
	if f, err = parse([]string{"-g", "--help"}); err != nil || !f.help {
		t.Errorf("help for a flag of a command: %+v, %v", f, err)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct {
		args string
		want string
	}{
		{"--", "cannot run a command: none follows --: "},
		{"-v --", "cannot run a command: none follows --: "},
		{"-f x -- true", "cannot use -f: it is for keeping the services of a spec, not for a command after --: "},
		{"--state-dir=x -g -- true", "cannot use --state-dir: it is for keeping "},
		{"--supervisor x -- true", "cannot use --supervisor: it is for keeping "},
		{"-g", "cannot use -g: it is for a command, and there is none after --: "},
		{"-p TERM -f x", "cannot use -p: it is for a command, "},
		{"-p", "cannot use -p: its value is missing: "},
		{"-p 0 -- true", `cannot use -p 0: there is no signal "0": `},
		{"-pNOSUCH -- true", `cannot use -p NOSUCH: there is no signal "NOSUCH": `},
		{"-p 65 -- true", `cannot use -p 65: there is no signal "65": `},
		{"-e 256 -- true", "cannot use -e 256: an exit code is a number from 0 to 255: "},
		{"-e -1 -- true", "cannot use -e -1: an exit code is "},
		{"-e x -- true", "cannot use -e x: an exit code is "},
		{"-r TERM -- true", "cannot use -r TERM: it takes FROM:TO, as TERM:INT: "},
		{"-r TERM: -- true", `cannot use -r TERM:: there is no signal "": `},
		{"-r :TERM -- true", `cannot use -r :TERM: there is no signal "": `},
		{"-r 0:TERM -- true", `cannot use -r 0:TERM: there is no signal "0": `},
		{"-r X:TERM -- true", `cannot use -r X:TERM: there is no signal "X": `},
		{"-r TERM:99 -- true", `cannot use -r TERM:99: there is no signal "99": `},
		{"-r KILL:TERM -- true", "cannot use -r KILL:TERM: KILL is not passed on to the command: "},
		{"-r CHLD:TERM -- true", "cannot use -r CHLD:TERM: CHLD is not passed on to the command: "},
		{"-g=1 -- true", "cannot use -g=1: -g takes no value: "},
		{"-gx -- true", "cannot use -gx: there is no such flag: "},
		{"-g sleep 1", "cannot use argument sleep: a spec is given with -f sleep, a command after --: "},
		{"nines.hcl", "cannot use argument nines.hcl: a spec is given with -f nines.hcl, a command after --: "},
		{"-", "cannot use argument -: "},
		{"-f", "cannot use -f: its value is missing: "},
		{"--socket", "cannot use --socket: its value is missing: "},
		{"--socket=", "cannot use --socket: its value is empty: "},
		{"--verbose=1", "cannot use --verbose=1: --verbose takes no value: "},
		{"--no-such", "cannot use --no-such: there is no such flag: "},
		{"-x", "cannot use -x: there is no such flag: "},
		{"-vf", "cannot use -vf: there is no such flag: "},
		{"--=", "cannot use --=: there is no such flag: "},
	} {
		_, err := parse(strings.Fields(c.args))
		if err == nil || !strings.HasPrefix(err.Error(), c.want) || !strings.HasSuffix(err.Error(), ": nines-init --help lists what there is") {
			t.Errorf("%q: %v, want %q", c.args, err, c.want)
		}
	}
}

func TestCommandLine(t *testing.T) {
	init := filepath.Join(programs(t), "nines-init")
	for _, c := range []struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		{[]string{"--version"}, 0, "nines-init v1.2.3\n", ""},
		{[]string{"-h"}, 0, usage, ""},
		{[]string{"--help"}, 0, usage, ""},
		{[]string{"--bad"}, 2, "", "nines-init: cannot use --bad: there is no such flag: nines-init --help lists what there is\n"},
		{[]string{"--"}, 2, "", "nines-init: cannot run a command: none follows --: nines-init --help lists what there is\n"},
		{[]string{"--", "echo", "-v", "--"}, 0, "-v --\n", ""},
	} {
		cmd := exec.Command(init, c.args...)
		var out, errs strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &errs
		err := cmd.Run()
		if cmd.ProcessState.ExitCode() != c.code || out.String() != c.stdout || errs.String() != c.stderr {
			t.Errorf("%q: %v, %q, %q", c.args, err, &out, &errs)
		}
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	cmd := exec.Command(init, "--version")
	cmd.Stdout = full
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("a full disk: %v", err)
	}
}

// PID 1 links little: what it does not have cannot crash, and costs no memory.
func TestLinksLittle(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	deps := strings.Fields(string(out))
	for _, bad := range []string{"fmt", "net", "net/http", "log", "log/slog", "flag", "encoding/json", "encoding/gob", "os/exec", "os/user",
		"regexp", "text/template", "runtime/debug", "math/rand", "math/big", "crypto/sha256", "bufio", "testing", "unicode/utf16"} {
		if slices.Contains(deps, bad) {
			t.Errorf("nines-init links %s", bad)
		}
	}
	for _, dep := range deps {
		if strings.Contains(strings.Split(dep, "/")[0], ".") && dep != "golang.org/x/sys/unix" {
			t.Errorf("nines-init links %s", dep)
		}
	}
	if len(deps) < 10 {
		t.Errorf("only %q", deps)
	}
}
