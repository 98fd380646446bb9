package keeper

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRoom(t *testing.T) {
	if n := room(5); n != 5 {
		t.Errorf("room for %d, want 5", n)
	}
	pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
	if err != unix.ECHILD {
		t.Errorf("it leaves a child: %d, %v", pid, err)
	}
}

func TestAmple(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pids.max")
	if ample(file) {
		t.Error("where there is no file")
	}
	for text, want := range map[string]bool{"max\n": true, "4096\n": true, "16\n": false, "": false, "many": false} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if ample(file) != want {
			t.Errorf("%q: not %v", text, want)
		}
	}
}
