package proc

import (
	"errors"
	"os"
	"testing"
)

// TestClockWatch: nothing is told while the clock is not set, and Close ends a
// wait. That a step is told needs a machine whose clock may be set.
func TestClockWatch(t *testing.T) {
	w, err := WatchClock()
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan error, 1)
	go func() { told <- w.Wait() }()
	select {
	case err := <-told:
		t.Fatalf("the clock was set, or %v", err)
	default:
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-told; !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
