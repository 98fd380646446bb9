package vm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The init of a machine becomes another program, and another again: services, the
// supervisor and the log process are the same, the hardware watchdog is armed and
// does not bite, a program that cannot go on is left again, and the signals that
// ask for an end of the machine are heard.
func TestMachineUpgraded(t *testing.T) {
	t.Parallel()
	Need(t)
	dir := t.TempDir()
	files := map[string]string{}
	for name, args := range map[string][]string{"second": nil, "faulty": {"-tags", "ninesfault"}} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		flags := "-ldflags=-s -w -X=main.version=" + name + " -X=runtime.godebugDefault=asyncpreemptoff=1 -E=nines_start"
		if err := build(filepath.Join(dir, name), append(args, flags, "nines/cmd/nines-init")...); err != nil {
			t.Fatal(err)
		}
		body, err := os.ReadFile(filepath.Join(dir, name, "nines-init"))
		if err != nil {
			t.Fatal(err)
		}
		files["/opt/"+name+"/nines-init"] = string(body)
	}
	// Words that the kernel does not know are the arguments and the environment of
	// its init. In virtual time: no load of the host makes anything late.
	r := Start(t, Machine{Init: Direct, VirtualTime: true, Modules: []string{"i6300esb"}, QEMU: []string{"-device", "i6300esb", "-action", "watchdog=poweroff"},
		Cmdline: "splash nines.watchdog_sec=4 NINES_WATCHDOG=1s NINES_FAULT=resume", Files: files,
		Spec: "supervisor {\n  watchdog = \"/dev/watchdog0\"\n}\n" + sleeper + `
service "modules" {
  type    = "task"
  command = ["guest", "modules"]
}
`, Script: `
up sleeper modules
armed() { [ "$(cat /sys/class/watchdog/watchdog0/state)" = active ]; }
await 60 armed
runs() { [ "$(readlink /proc/1/exe)" = "$1" ] || fail "PID 1 is $(readlink /proc/1/exe), not $1"; }
pids() { pidof sleep; pidof nines; pidof nines-log; }
same() {
	[ "$(pids)" = "$before" ] || fail "the pids are $(pids), were $before"
	armed || fail "the watchdog is not armed"
	nines ready sleeper
}
sleep 6
before=$(pids)
nines upgrade /opt/second --keeper
runs /opt/second/nines-init
same
sleep 6
fds=$(ls /proc/1/fd | wc -l)
if nines upgrade /opt/faulty --keeper; then fail "the faulty one is taken"; fi
same
sleep 6
nines upgrade /usr/bin/nines-init --keeper
runs /usr/bin/nines-init
same
nines upgrade /opt/second --keeper
same
[ "$(ls /proc/1/fd | wc -l)" = "$fds" ] || fail "descriptors: $(ls -l /proc/1/fd), were $fds"
kill -9 $(pidof nines)
sleep 6
up sleeper
[ "$(pidof sleep)" = "$(echo "$before" | head -n1)" ] || fail "the service is another"
`, Then: "kill -PWR 1"}).Wait()
	if r.Exit != 0 || !orderly(r) {
		r.Fatal(t, "exit status %d, the machine's end: %s", r.Exit, r.End)
	}
	for _, want := range []string{"nines-init dev is now second", "it cannot go on: as a test has it", "nines-init second is now dev"} {
		if !strings.Contains(r.Console, want) {
			t.Errorf("the console lacks %q:\n%s", want, r.Console)
		}
	}
}
