package threads

import (
	"os"
	"testing"
)

func count(t *testing.T) int {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	return len(tasks)
}

// They are there, they stay, and they are the same when as many are asked for again.
func TestReserve(t *testing.T) {
	const n = 24
	Reserve(n)
	made := count(t)
	if made < n {
		t.Fatalf("%d threads, want %d", made, n)
	}
	for range 20 {
		Reserve(n - 4) // what else the runtime has busy at a time
	}
	if again := count(t); again > made {
		t.Errorf("%d threads, then %d", made, again)
	}
}
