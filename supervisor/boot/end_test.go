package boot

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

func TestEnd(t *testing.T) {
	for action, want := range map[Action]string{PowerOff: "reboot poweroff", Restart: "reboot restart", Halt: "reboot halt", Kexec: "reboot kexec"} {
		r := newRig(t)
		r.dog.interval = time.Second
		r.f.files["/sys/kernel/kexec_loaded"] = "1\n"
		r.f.files["/proc/swaps"] = "Filename Type Size Used Priority\n/dev/vdb partition 1 0 -2\n/var/swap\\040file file 1 0 -3\n"
		r.f.loops = []string{"/dev/loop0"}
		r.f.mounts = []string{"ext4 /", "proc /proc", "sysfs /sys", "tmpfs /run", "ext4 /home", "ext4 /srv", "xfs /srv/data", "tmpfs /tmp", "cgroup2 /sys/fs/cgroup"}
		r.f.busy["/home"] = []string{"/srv/data"}
		r.f.procs[10] = &fakeProc{process: process{pid: 10}}
		r.f.procs[11] = &fakeProc{process: process{pid: 11}, ignores: true}
		r.f.procs[12] = &fakeProc{process: process{pid: 12, kernel: true}}
		r.f.procs[13] = &fakeProc{process: process{pid: 13, stays: true}}
		took := r.ends(t, action)
		if took < termPatience || took > termPatience+time.Second {
			t.Errorf("%s: it took %v", action, took)
		}
		if got := r.f.acts("kill"); !slices.Equal(got, []string{"kill 10 SIGTERM", "kill 11 SIGTERM", "kill 11 SIGKILL"}) {
			t.Errorf("%s: %q", action, got)
		}
		if got := r.f.acts("umount", "swapoff", "readonly", "detach"); !slices.Equal(got, []string{
			"swapoff /dev/vdb", "swapoff /var/swap file", "umount /tmp", "umount /srv/data", "umount /srv", "umount /home", "detach /dev/loop0", "readonly /",
		}) {
			t.Errorf("%s: %q", action, got)
		}
		if got := r.f.acts("reboot"); got[0] != want {
			t.Errorf("%s: %q", action, got)
		}
		if r.f.log[len(r.f.log)-1-strings.Count(strings.Join(r.f.acts("reboot"), "\n"), "reboot")] != "sync" {
			t.Errorf("%s: no sync before the end: %q", action, r.f.log)
		}
		if r.dog.disarmed != (action == Halt) || r.dog.pets < 10 {
			t.Errorf("%s: the watchdog is disarmed: %v, petted %d times", action, r.dog.disarmed, r.dog.pets)
		}
		if p := r.f.procs[13]; p == nil || p.stopped {
			t.Errorf("%s: what serves the root filesystem was ended or left stopped", action)
		}
	}
}

// What cannot be unmounted becomes read-only, and what cannot be that is
// detached; nobody who is stuck is waited for for ever.
func TestEndWithTheStubborn(t *testing.T) {
	r := newRig(t)
	r.f.mounts = []string{"ext4 /", "ext4 /a", "nfs4 /hung", "ext4 /b"}
	r.f.fails["umount /a"] = unix.EBUSY
	r.f.fails["umount /b"] = unix.EBUSY
	r.f.fails["readonly /b"] = unix.EBUSY
	r.f.fails["detach /b"] = unix.EPERM
	r.f.hangs["umount /hung"] = true
	r.f.hangs["sync"] = true
	r.f.files["/proc/9/comm"] = "stuck\n"
	r.f.procs[9] = &fakeProc{process: process{pid: 9}, ignores: true, stuck: true}
	took := r.ends(t, PowerOff)
	if took > endBound+time.Second {
		t.Errorf("it took %v", took)
	}
	if got := r.f.acts("readonly"); !slices.Equal(got, []string{"readonly /b", "readonly /a", "readonly /"}) {
		t.Errorf("%q", got)
	}
	for _, want := range []string{
		"SIGKILL to stuck (9), which SIGTERM did not end in 10s", "left behind, because SIGKILL does not end it: stuck (9)",
		"cannot write everything to disk: it did not return in time: it goes on without", "cannot unmount /hung: it did not return in time",
		"cannot unmount /a: device or resource busy", "cannot make /b read-only: ", "cannot detach /b: ",
	} {
		r.wantSaid(t, want)
	}
}

// Everything hangs: the bound of all decides.
func TestEndIsBounded(t *testing.T) {
	r := newRig(t)
	r.dog.interval = 10 * time.Second
	r.f.mounts = []string{"ext4 /"}
	for _, m := range []string{"/a", "/b", "/c", "/d", "/e", "/f", "/g", "/h", "/i", "/j"} {
		r.f.mounts = append(r.f.mounts, "nfs4 "+m)
		r.f.hangs["umount "+m] = true
	}
	r.f.hangs["sync"] = true
	if took := r.ends(t, Restart); took > endBound+time.Second {
		t.Errorf("it took %v", took)
	}
	r.wantSaid(t, "too much hangs already")
	if r.left > maxLeft+4 { // and what the end cannot do without
		t.Errorf("%d threads are left behind", r.left)
	}
}

// A panic costs its step alone.
func TestEndPanics(t *testing.T) {
	r := newRig(t)
	r.f.procs = nil
	r.dog.interval = 0
	r.f.fails["processes"] = unix.ENOMEM
	m := r.Machine
	m.step("a test", func() { panic("oh") })
	r.wantSaid(t, "internal error in a test: oh: it goes on; please report it")
	if err := m.bounded(time.Second, func() error { panic(unix.EIO) }); err == nil || !strings.Contains(err.Error(), "input/output error") {
		t.Error(err)
	}
	r.ends(t, PowerOff)
	r.wantSaid(t, "cannot list the processes: ")
}

// reboot(2) refuses: the next best is tried.
func TestRebootFails(t *testing.T) {
	r := newRig(t)
	r.f.fails["reboot poweroff"] = unix.EPERM
	r.f.fails["reboot restart"] = unix.EPERM
	synctest.Test(t, func(t *testing.T) {
		r.f.release = make(chan struct{})
		r.end(PowerOff)
		close(r.f.release)
	})
	if got := r.f.acts("reboot"); !slices.Equal(got, []string{"reboot poweroff", "reboot restart", "reboot halt"}) {
		t.Errorf("%q", got)
	}
	r.wantSaid(t, "cannot power off: reboot(2): operation not permitted")
}

func TestKexecWithoutKernel(t *testing.T) {
	r := newRig(t)
	r.ends(t, Kexec)
	if got := r.f.acts("reboot"); got[0] != "reboot restart" {
		t.Errorf("%q", got)
	}
	r.wantSaid(t, "no kernel is loaded to go on with")
}

func TestParseMounts(t *testing.T) {
	got := parseMounts("22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro\n" +
		"23 22 8:2 / /a\\040b\\134 rw,relatime - ext4 /dev/sda2 ro\n" +
		"24 22 8:3 / /c ro,relatime master:1 propagate_from:2 - ext4 /dev/sda3 rw\nrubbish\n1 2 3 - x\n")
	want := []mounted{{"/", "ext4", false}, {`/a b\`, "ext4", true}, {"/c", "ext4", false}}
	if !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
}

func TestParseStat(t *testing.T) {
	for text, want := range map[string]struct {
		kernel, ok bool
	}{
		"2 (kthreadd) S 0 0 0 0 -1 2129984 0 0": {true, true},
		"9 (a) R (b) S 1 9 9 0 -1 4194304 0 0":  {false, true},
		"9 (gone) Z 1 9 9 0 -1 4194304 0 0":     {false, false},
		"9 (short":                              {false, false},
		"":                                      {false, false},
	} {
		p, ok := parseStat(9, text)
		if ok != want.ok || p.kernel != want.kernel {
			t.Errorf("%q: %+v, %v", text, p, ok)
		}
	}
}
