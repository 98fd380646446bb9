package vm

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

const sleeper = `
service "sleeper" {
  command = ["sleep", "1000"]
}
`

// stubborn is a spec with what does not want to end.
const stubborn = `
supervisor {
  shutdown_timeout = "2s"
}
service "ignorer" {
  command = ["/bin/sh", "-c", "trap '' TERM INT HUP; while :; do sleep 1; done"]
  stop {
    timeout = "1s"
  }
}
`

// The kernel starts nines-init and has prepared nothing.
func TestMachineBoot(t *testing.T) {
	t.Parallel()
	r := Run(t, Machine{Init: Direct, Spec: sleeper,
		Files:   map[string]string{"/etc/hostname": "# ours\nbeacon\n"},
		Cmdline: "splash nosuchword=1 nines.nosuch=1", Script: `
up sleeper
cat /proc/self/mountinfo >/out/mounts
cat /proc/1/limits >/out/limits
cat /proc/$(pidof sleep)/limits >/out/service-limits
tr '\0' '\n' </proc/1/environ >/out/environ
tr '\0' '\n' </proc/$(pidof sleep)/environ >/out/service-environ
hostname >/out/hostname
ip addr show lo >/out/lo
ls -l /dev/fd /dev/stdin /dev/stdout /dev/stderr >/out/links
nines status --json >/out/status
`})
	for file, want := range map[string][]string{
		"mounts": {
			` /proc rw,nosuid,nodev,noexec,relatime - proc `, ` /sys rw,nosuid,nodev,noexec,relatime - sysfs `, ` /dev rw,nosuid,relatime - devtmpfs `,
			` /dev/pts rw,nosuid,noexec,relatime - devpts .*gid=5,mode=620,ptmxmode=666`, ` /dev/shm rw,nosuid,nodev,relatime - tmpfs `,
			` /run rw,nosuid,nodev,relatime - tmpfs .*mode=755`, ` /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime - cgroup2 .*nsdelegate,memory_recursiveprot`,
		},
		"limits":          {`Max open files +52428\d +524288`},
		"service-limits":  {`Max open files +1024 +524288`},
		"service-environ": {`(?m)^PATH=/usr/local/sbin`, `(?m)^NINES_SERVICE=sleeper$`},
		"hostname":        {`^beacon\n$`},
		"lo":              {`<LOOPBACK,UP`, `127\.0\.0\.1/8`, `::1/128`},
		"links":           {`/dev/fd -> /proc/self/fd\n`, `/dev/stderr -> /proc/self/fd/2\n`},
		"status":          {`"cgroups":"full"`, `"keeper_pid":1\b`},
	} {
		for _, pattern := range want {
			if !regexp.MustCompile(pattern).Match(r.Files[file]) {
				t.Errorf("%s lacks %q:\n%s", file, pattern, r.Files[file])
			}
		}
	}
	if strings.Contains(string(r.Files["service-environ"]), "nosuchword") {
		t.Error("a word of the kernel's command line reaches services")
	}
	for _, want := range []string{"nines-init: cannot use nines.nosuch=1 of the kernel's command line: there are nines.spec=PATH"} {
		if !strings.Contains(r.Console, want) {
			t.Errorf("the console lacks %q:\n%s", want, r.Console)
		}
	}
}

// The ways to end a machine that no other test goes, and what nines has done before.
func TestMachineEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		then string
		end  End
		want string
	}{
		"busybox":     {"busybox poweroff", PowerOff, "now: power off"},
		"SIGTERM":     {"kill -TERM 1", Reboot, "now: restart"},
		"SIGRTMIN+6":  {"kill -40 1", Reboot, "no kernel is loaded to go on with"},
		"SIGRTMIN+14": {"kill -48 1", PowerOff, "now: power off"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := Start(t, Machine{Init: Direct, Spec: sleeper, Script: "up sleeper", Then: c.then}).Wait()
			if r.Exit != 0 || r.End != c.end || !strings.Contains(r.Console, c.want) {
				r.Fatal(t, "exit status %d, the machine's end: %s, want %s and %q", r.Exit, r.End, c.end, c.want)
			}
			// What has no order kills the supervisor with all else, which may still say so.
			stopping, ending := strings.Index(r.Console, "shutdown: shutting down"), strings.Index(r.Console, "the machine is about to")
			inOrder := stopping >= 0 && stopping < ending
			if immediate := name == "SIGRTMIN+14"; inOrder == immediate {
				r.Fatal(t, "the service was stopped in order: %v", inOrder)
			}
		})
	}
}

// A halted machine stands still.
func TestMachineHalts(t *testing.T) {
	t.Parallel()
	v := Start(t, Machine{Init: Direct, Spec: sleeper, Script: "up sleeper", Then: "nines shutdown --halt", Cmdline: "loglevel=6"})
	v.ExpectConsole("now: halt")
	v.ExpectConsole("reboot: System halted")
}

// Specs, and arguments after --, come by the kernel's command line. Ctrl-Alt-Del
// restarts.
func TestMachineCommandLine(t *testing.T) {
	t.Parallel()
	v := Start(t, Machine{Init: Direct,
		Files: map[string]string{"/etc/a.hcl": sleeper, "/etc/b.hcl": strings.ReplaceAll(sleeper, "sleeper", "second")},
		Args:  []string{"-v", "--no-such-flag"}, Cmdline: "nines.spec=/etc/nines nines.spec=/etc/a.hcl nines.spec=/etc/b.hcl",
		Script: "up sleeper second; echo READY; read line"})
	v.Expect("READY")
	v.CtrlAltDel()
	r := v.Wait()
	if r.End != Reboot {
		r.Fatal(t, "the machine's end: %s", r.End)
	}
	for _, want := range []string{"cannot use --no-such-flag: there is no such flag", "shutting down: SIGTERM"} {
		if !strings.Contains(r.Console, want) {
			t.Errorf("the console lacks %q:\n%s", want, r.Console)
		}
	}
}

// A service that ignores everything, and a process in the kernel that SIGKILL
// does not end: the machine is off all the same, and soon. The disk that is at
// fault stays dirty, the other one is clean.
func TestMachineEndsWithTheStubborn(t *testing.T) {
	t.Parallel()
	good, frozen := NewDisk(t, 32, ""), NewDisk(t, 32, "")
	v := Start(t, Machine{Init: Direct, Spec: stubborn, Disks: []Disk{good, frozen}, Script: `
guest modules
mkdir -p /mnt/good /mnt/frozen
mount -t ext4 /dev/vda /mnt/good
mount -t ext4 /dev/vdb /mnt/frozen
echo kept >/mnt/good/kept
fsfreeze --freeze /mnt/frozen
# Not a service: nobody but the end itself ends it.
setsid sh -c 'echo $$ >/sys/fs/cgroup/cgroup.procs; exec 3>&- ; echo x >/mnt/frozen/stuck' </dev/null >/dev/null 2>&1 &
await 20 grep -q '^State:.D' /proc/$!/status
up ignorer
`, Then: "cut -d. -f1 /proc/uptime >/dev/console; nines shutdown --poweroff"})
	r := v.Wait()
	if r.Exit != 0 || r.End != PowerOff || !strings.Contains(r.Console, "now: power off") {
		r.Fatal(t, "exit status %d, the machine's end: %s", r.Exit, r.End)
	}
	if want := "left behind, because SIGKILL does not end it: sh ("; !strings.Contains(r.Console, want) {
		r.Fatal(t, "the console lacks %q", want)
	}
	if !clean(t, good) {
		r.Fatal(t, "the good disk is not clean")
	}
	t.Log(r.Console)
}

// clean says whether an ext4 filesystem was unmounted in order.
func clean(t *testing.T, d Disk) bool {
	t.Helper()
	out, err := exec.Command("/sbin/dumpe2fs", "-h", d.Path).CombinedOutput()
	if err != nil {
		t.Fatalf("dumpe2fs: %v: %s", err, out)
	}
	state := regexp.MustCompile(`(?m)^Filesystem state: +(.*)$`).FindSubmatch(out)
	// needs_recovery: its journal holds what is not yet in its place.
	return state != nil && string(state[1]) == "clean" && !strings.Contains(string(out), "needs_recovery")
}

// The supervisor hangs, and nobody aborts it: the keeper ends the machine.
func TestMachineEndsWithoutSupervisor(t *testing.T) {
	t.Parallel()
	r := Start(t, Machine{Init: Direct, Spec: sleeper, VirtualTime: true, Cmdline: "NINES_WATCHDOG=0", Script: `
up sleeper
kill -STOP $(pidof nines)
`, Then: "kill -USR2 1"}).Wait()
	if r.Exit != 0 || r.End != PowerOff || !strings.Contains(r.Console, "the supervisor has not shut down in time: everything is killed") {
		r.Fatal(t, "exit status %d, the machine's end: %s", r.Exit, r.End)
	}
}

// A shell on the console before anything starts, and one where the spec is wrong.
func TestMachineShell(t *testing.T) {
	t.Parallel()
	v := Start(t, Machine{Init: Direct, Cmdline: "single", Spec: "service \"x\" {\n  comand = [\"x\"]\n}\n",
		Script: "nines ready x\n", Then: "nines shutdown --poweroff"})
	v.ExpectConsole("the kernel's command line asks for it: a shell on the console: /bin/sh")
	// A controlling terminal of its own: job control works.
	v.Type("echo ctty $(ps -o pid,tty | grep \"^ *$$ \") $(tty)\nexit\n")
	v.ExpectConsole("the shell has ended: the boot goes on")
	v.ExpectConsole(`service "x" has no attribute "comand"`)
	v.ExpectConsole("nothing could be started: a shell on the console: /bin/sh")
	v.Type("sed -i 's/comand = .*/command = [\"sleep\", \"1000\"]/' /etc/nines/nines.hcl\nexit\n")
	r := v.Wait()
	if r.Exit != 0 || r.End != PowerOff {
		r.Fatal(t, "exit status %d, the machine's end: %s", r.Exit, r.End)
	}
	if !regexp.MustCompile(`ctty \d+ \d+,\d+ /dev/`).MatchString(r.Console) {
		r.Fatal(t, "the shell has no controlling terminal")
	}
}

// Where there is no program to start, a person gets a shell too, and whoever
// presses Ctrl-Alt-Del in it a restart.
func TestMachineWithoutSupervisor(t *testing.T) {
	t.Parallel()
	v := Start(t, Machine{Init: Direct, Args: []string{"--supervisor", "/no/such/nines"}})
	v.ExpectConsole("nines supervise does not begin: it is given up for now")
	v.ExpectConsole("a shell on the console")
	v.CtrlAltDel()
	if r := v.Wait(); r.End != Reboot {
		r.Fatal(t, "the machine's end: %s", r.End)
	}
}

func watchdogMachine(script string) Machine {
	// In virtual time: no load of the host makes anything late.
	return Machine{Init: Mounted, VirtualTime: true, Modules: []string{"i6300esb"}, QEMU: []string{"-device", "i6300esb", "-action", "watchdog=poweroff"},
		Spec:    "supervisor {\n  watchdog = \"/dev/watchdog0\"\n}\n" + sleeper,
		Cmdline: "nines.watchdog_sec=4", Env: []string{"NINES_WATCHDOG=1s"}, Script: script}
}

// The watchdog does not bite while all is well, though the supervisor is killed
// and hangs; and it is petted, and left armed, during the end.
func TestMachineWatchdogPetted(t *testing.T) {
	t.Parallel()
	m := watchdogMachine(`
up sleeper
sleep 6
kill -9 $(pidof nines)
sleep 6
up sleeper
kill -STOP $(pidof nines)
sleep 8
up sleeper
cat /sys/class/watchdog/watchdog0/state /sys/class/watchdog/watchdog0/timeout >/out/state
`)
	m.Then = "nines shutdown --poweroff"
	r := Start(t, m).Wait()
	if r.Exit != 0 || r.End != PowerOff {
		r.Fatal(t, "exit status %d, the machine's end: %s", r.Exit, r.End)
	}
	if got := string(r.Files["state"]); got != "active\n4\n" {
		t.Errorf("the watchdog is %q", got)
	}
}

// It bites where the supervisor hangs and nobody mends it, and where PID 1
// itself does.
func TestMachineWatchdogBites(t *testing.T) {
	t.Parallel()
	hung := watchdogMachine("up sleeper; kill -STOP $(pidof nines); sleep 100")
	hung.Env = []string{"NINES_WATCHDOG=0"}
	frozen := watchdogMachine("up sleeper; g=/sys/fs/cgroup/frozen; mkdir $g; echo 1 >$g/cgroup.procs; echo 1 >$g/cgroup.freeze; sleep 100")
	for name, m := range map[string]Machine{"supervisor": hung, "keeper": frozen} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if r := Start(t, m).Wait(); r.End != Watchdog {
				r.Fatal(t, "the machine's end: %s", r.End)
			}
		})
	}
}
