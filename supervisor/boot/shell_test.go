package boot

import (
	"os"
	"os/signal"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// childEnds tells the shell's loop that a process has ended, as the kernel would.
func (r *rig) childEnds(t *testing.T, pid int) {
	t.Helper()
	r.f.mu.Lock()
	r.f.ended = append(r.f.ended, 5, pid) // and somebody else's child
	r.f.mu.Unlock()
	if err := unix.Kill(os.Getpid(), unix.SIGCHLD); err != nil {
		t.Fatal(err)
	}
}

func TestShell(t *testing.T) {
	r := newRig(t)
	r.dog.interval = time.Hour
	r.f.exist = []string{"/bin/sh", "/bin/busybox"}
	r.f.onShell = func() { r.childEnds(t, 77) }
	if action := r.Shell("a test"); action != "" {
		t.Errorf("action %q", action)
	}
	if got := r.f.acts("shell"); !slices.Equal(got, []string{"shell /bin/sh"}) {
		t.Errorf("%q", got)
	}
	if r.dog.pets == 0 {
		t.Error("the watchdog was not petted")
	}
	r.wantSaid(t, "a test: a shell on the console: /bin/sh; the boot goes on when it ends")
	r.wantSaid(t, "the shell has ended")
}

// One that cannot be started is passed over; a signal ends the waiting.
func TestShellAndCtrlAltDel(t *testing.T) {
	r := newRig(t)
	r.f.exist = []string{"/sbin/sulogin", "/bin/busybox"}
	r.f.fails["shell /sbin/sulogin"] = unix.ENOEXEC
	r.f.onShell = func() { r.signals <- unix.SIGHUP; r.signals <- unix.SIGPWR }
	r.signals <- unix.SIGINT // of before
	if action := r.Shell("a test"); action != PowerOff {
		t.Errorf("action %q", action)
	}
	r.wantSaid(t, "cannot start /sbin/sulogin: exec format error")
	if got := r.f.acts("shell"); !slices.Equal(got, []string{"shell /sbin/sulogin", "shell /bin/busybox"}) {
		t.Errorf("%q", got)
	}
}

func TestNoShell(t *testing.T) {
	r := newRig(t)
	done := make(chan Action)
	go func() { done <- r.Shell("a test") }()
	r.signals <- unix.SIGTERM
	// Drained, if it came before the shell; a second one is not.
	select {
	case action := <-done:
		if action != Restart {
			t.Errorf("action %q", action)
		}
	case r.signals <- unix.SIGTERM:
		<-done
	}
	r.wantSaid(t, "there is no shell to help with")
	signal.Reset(unix.SIGCHLD)
}
