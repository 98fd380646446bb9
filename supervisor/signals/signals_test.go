package signals

import (
	"os"
	"os/signal"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// What is held is what is forwarded, and what asks for the end of a machine.
func TestHeld(t *testing.T) {
	for sig := unix.Signal(1); sig <= last; sig++ {
		var want bool
		switch sig {
		case unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGTERM, unix.SIGPWR:
			want = true
		default:
			want = sig > 34
		}
		if has(Held, sig) != want {
			t.Errorf("signal %d is held: %v", sig, !want)
		}
	}
}

// Each is taken once; of a kind that does not queue one is left. This program does not
// begin at nines_start: only this thread holds them.
func TestQueue(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	set := Set()
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &set, nil); err != nil {
		t.Fatal(err)
	}
	defer unix.PthreadSigmask(unix.SIG_UNBLOCK, &set, nil)
	q, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if sig, ok := q.Take(); ok {
		t.Errorf("%v", sig)
	}
	for _, sig := range []unix.Signal{unix.SIGTERM, 64, unix.SIGTERM, 64} {
		if err := unix.Tgkill(os.Getpid(), unix.Gettid(), sig); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.Wait(); err != nil {
		t.Error(err)
	}
	for _, want := range []unix.Signal{unix.SIGTERM, 64, 64, 0} {
		if sig, ok := q.Take(); sig != want || ok != (want != 0) {
			t.Errorf("%v, %v, want %v", sig, ok, want)
		}
	}
	ended := make(chan error)
	go func() { ended <- q.Wait() }()
	if sig, ok := q.Take(); ok { // it does not wait for who waits
		t.Errorf("%v", sig)
	}
	q.Close()
	if <-ended == nil {
		t.Error("a queue that is closed has something")
	}
}

// A child begins with the mask that is asked for, and what this thread takes
// meanwhile is there again.
func TestFork(t *testing.T) {
	var mask unix.Sigset_t
	came := make(chan os.Signal, 2)
	signal.Notify(came, unix.SIGUSR2)
	defer signal.Stop(came)
	Fork(&mask, func() {
		var now unix.Sigset_t
		if err := unix.PthreadSigmask(unix.SIG_BLOCK, nil, &now); err != nil || now != mask {
			t.Errorf("%v %v", now, err)
		}
		if err := unix.Kill(os.Getpid(), unix.SIGUSR2); err != nil {
			t.Error(err)
		}
	})
	for range 2 {
		<-came
	}
}
