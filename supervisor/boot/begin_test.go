package boot

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestBegin(t *testing.T) {
	r := newRig(t)
	r.env = []string{"HOME=/", "TERM=linux", "BOOT_IMAGE=/vmlinuz", "NINES_WATCHDOG=1s", "LANG=C.UTF-8"}
	r.f.files["/sys/class/tty/console/active"] = "tty0 ttyS0\n"
	r.f.files["/proc/cmdline"] = "root=/dev/vda ro nines.spec=/etc/a.hcl nines.spec=\"/etc/b c.hcl\" single nines.watchdog=/dev/watchdog nines.watchdog_sec=9 -- --x nines.spec=/no\n"
	r.f.mounts = []string{"ext4 /", "devtmpfs /dev"}
	r.Begin()
	want := []string{
		"mount proc /proc ", "mount sysfs /sys ", "mount devpts /dev/pts mode=0620,gid=5,ptmxmode=0666", "mount tmpfs /dev/shm mode=1777",
		"mount tmpfs /run mode=0755,size=20%,nr_inodes=800k", "mount cgroup2 /sys/fs/cgroup nsdelegate,memory_recursiveprot",
	}
	if got := r.f.acts("mount"); !slices.Equal(got, want) {
		t.Errorf("mounts: %q", got)
	}
	if got := r.f.acts("hostname", "loopback", "reboot", "console"); !slices.Equal(got, []string{"console", "reboot cad-off", "hostname beacon", "loopback"}) {
		t.Errorf("acts: %q", got)
	}
	c := r.Cmdline()
	if !slices.Equal(c.Specs, []string{"/etc/a.hcl", "/etc/b c.hcl"}) || !c.Shell || c.Watchdog != "/dev/watchdog" || c.WatchdogTimeout != 9*time.Second {
		t.Errorf("the command line: %+v", c)
	}
	wantEnv := []string{defaultPath, "HOME=/", "TERM=vt220", "NINES_WATCHDOG=1s", "LANG=C.UTF-8"}
	if !slices.Equal(r.Env(), wantEnv) {
		t.Errorf("the environment: %q", r.Env())
	}
	if len(r.said) > 0 {
		t.Errorf("said: %q", r.said)
	}
	// Again, as after the limits were raised: nothing is mounted twice.
	r.f.log = nil
	r.Begin()
	if got := r.f.acts("mount"); len(got) > 0 {
		t.Errorf("mounted again: %q", got)
	}
}

// Each step that fails is said, and the rest is done.
func TestBeginGoesOn(t *testing.T) {
	r := newRig(t)
	r.f.mounts = []string{"ext4 /"}
	for _, act := range []string{
		"mount proc /proc ", "mount devpts /dev/pts mode=0620,gid=5,ptmxmode=0666", "mount devpts /dev/pts mode=0620,ptmxmode=0666",
		"console", "reboot cad-off", "hostname beacon", "loopback",
	} {
		r.f.fails[act] = unix.EPERM
	}
	// Options that an older kernel does not know.
	r.f.fails["mount cgroup2 /sys/fs/cgroup nsdelegate,memory_recursiveprot"] = unix.EINVAL
	r.f.fails["symlink /proc/self/fd /dev/fd"] = unix.EEXIST
	r.f.fails["symlink /proc/self/fd/0 /dev/stdin"] = unix.EROFS
	delete(r.f.files, "/proc/cmdline")
	r.Begin()
	for _, want := range []string{
		"cannot mount proc on /proc: operation not permitted: it goes on without", "cannot mount devpts on /dev/pts: ",
		"cannot set up the console: ", "cannot take Ctrl-Alt-Del over: ", "cannot set the hostname beacon: ", "cannot bring the loopback interface up: ",
		"cannot link /dev/stdin: ", "cannot read the kernel's command line: ",
	} {
		r.wantSaid(t, want)
	}
	if !slices.Contains(r.f.mounts, "cgroup2 /sys/fs/cgroup") || !slices.Contains(r.f.mounts, "tmpfs /run") {
		t.Errorf("mounted: %q", r.f.mounts)
	}
	if slices.ContainsFunc(r.said, func(s string) bool { return strings.Contains(s, "/dev/fd") }) {
		t.Error("a link that is there is complained about")
	}
}

func TestMountWhereNoFolderIs(t *testing.T) {
	r := newRig(t)
	if err := r.mountOne(mount{fstype: "tmpfs", target: "/missing", data: []string{""}}); err != nil {
		t.Error(err)
	}
	if got := r.f.acts("mkdir", "mount"); !slices.Equal(got, []string{"mkdir /missing", "mount tmpfs /missing "}) {
		t.Errorf("acts: %q", got)
	}
	r.f.fails["mkdir /missing2"] = unix.EROFS
	if err := r.mountOne(mount{fstype: "tmpfs", target: "/missing2", data: []string{""}}); err == nil || !strings.Contains(err.Error(), "cannot be made: read-only file system") {
		t.Error(err)
	}
}

func TestHostname(t *testing.T) {
	for text, want := range map[string]string{"\n# x\n  one \ntwo": "one", "": "localhost", "#\n": "localhost"} {
		r := newRig(t)
		r.f.files["/etc/hostname"] = text
		r.setHostname()
		if got := r.f.acts("hostname"); !slices.Equal(got, []string{"hostname " + want}) {
			t.Errorf("%q: %q, want %s", text, got, want)
		}
	}
}

func TestTerminal(t *testing.T) {
	for active, want := range map[string]string{"tty0\n": "linux", "tty0 ttyS0\n": "vt220", "hvc0": "vt220", "": "linux", "ttyAMA0 tty1": "linux"} {
		r := newRig(t)
		r.f.files["/sys/class/tty/console/active"] = active
		if got := r.terminal(); got != want {
			t.Errorf("%q: %s, want %s", active, got, want)
		}
	}
	if got := newRig(t).terminal(); got != "linux" {
		t.Errorf("unknown: %s", got)
	}
}

func TestRaiseLimits(t *testing.T) {
	r := newRig(t)
	if !r.RaiseLimits() {
		t.Error("it is not told to begin anew")
	}
	r.f.fails["limit 524288"] = unix.EPERM
	if r.RaiseLimits() {
		t.Error("a failure makes it begin anew, for ever")
	}
	r.wantSaid(t, "cannot raise the limit of open files: operation not permitted")
}

func TestParseCmdline(t *testing.T) {
	for text, shell := range map[string]bool{
		"ro quiet": false, "single": true, "S": true, "ro 1": true, "rescue quiet": true, "nines.emergency": true, "nines.emergency=1": true,
		"nines.emergency=0": false, "-- single": false, "x=single": false, "\"single\"": true,
	} {
		if c := ParseCmdline(text); c.Shell != shell || len(c.Complaints) > 0 {
			t.Errorf("%q: %+v", text, c)
		}
	}
	for _, text := range []string{"nines.watchdog_sec=0", "nines.watchdog_sec=x", "nines.spec=", "nines.watchdog=x", "nines.other=1", "nines.emergency=maybe"} {
		c := ParseCmdline(text)
		if len(c.Complaints) != 1 || !strings.HasPrefix(c.Complaints[0], "cannot use "+text) {
			t.Errorf("%q: %+v", text, c)
		}
		if c.WatchdogTimeout != DefaultWatchdogTimeout {
			t.Errorf("%q: %v", text, c.WatchdogTimeout)
		}
	}
}

func TestOwnArgs(t *testing.T) {
	if got := OwnArgs([]string{"single", "splash", "-f", "/etc/x", "y"}); !slices.Equal(got, []string{"-f", "/etc/x", "y"}) {
		t.Errorf("%q", got)
	}
	if got := OwnArgs([]string{"single"}); got != nil {
		t.Errorf("%q", got)
	}
}

// Whoever runs the tests is no machine's init, and nothing can make him one.
func TestDetect(t *testing.T) {
	for _, c := range []struct {
		pid    int
		choice string
	}{{os.Getpid(), ""}, {os.Getpid(), "yes"}, {1, "no"}} {
		if Detect(c.pid, nil, c.choice) {
			t.Errorf("%+v", c)
		}
	}
	ino, err := pidNamespace()
	if err != nil || ino == 0 {
		t.Fatalf("%d, %v", ino, err)
	}
	machine := ino == initialPIDNamespace
	if Detect(1, nil, "") != machine || Detect(1, []string{"container=podman"}, "yes") != machine {
		t.Error("the namespace does not decide")
	}
	if Detect(1, []string{"A=1", "container=podman"}, "") {
		t.Error("container= does not decide")
	}
}

func TestAsked(t *testing.T) {
	for sig, want := range map[unix.Signal]Action{
		unix.SIGINT: Restart, unix.SIGTERM: Restart, unix.SIGPWR: PowerOff, unix.SIGUSR2: PowerOff, unix.SIGUSR1: Halt,
		37: Halt, 38: PowerOff, 39: Restart, 40: Kexec, 47: Halt, 48: PowerOff, 49: Restart, 50: Kexec,
		unix.SIGHUP: "", unix.SIGQUIT: "", unix.SIGCHLD: "", unix.SIGURG: "", 36: "", 41: "", 46: "", 51: "",
	} {
		action, now := Asked(sig)
		if Action(action) != want || now != (sig >= 47 && sig <= 50) {
			t.Errorf("signal %d: %q, %v", sig, action, now)
		}
	}
	for text, want := range map[string]Action{"": PowerOff, "poweroff": PowerOff, "reboot": Restart, "halt": Halt, "kexec": Kexec, "hibernate": PowerOff} {
		if got := ParseAction(text); got != want {
			t.Errorf("%q: %s", text, got)
		}
	}
}
