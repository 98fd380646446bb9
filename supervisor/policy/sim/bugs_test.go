package sim

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// TestSeededBugs builds the machine with each of the faults of
// policy/bug.go and requires that the simulator finds it: a simulator that finds
// nothing proves nothing.
func TestSeededBugs(t *testing.T) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Fatalf("cannot build the seeded bugs: %v", err)
	}
	for _, bug := range []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 24} {
		t.Run(strconv.Itoa(bug), func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(goTool, "test", "-count=1", "-tags=ninesbug"+strconv.Itoa(bug), "-run=^TestSim$", ".")
			cmd.Env = append(os.Environ(), "NINES_SIM_SEED=1", "NINES_SIM_EVENTS=150000")
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatalf("the simulator did not find seeded bug %d", bug)
			}
			_, found, ok := strings.Cut(string(out), "invariant ")
			if !ok {
				t.Fatalf("cannot run it with seeded bug %d: %v\n%s", bug, err, out)
			}
			line, _, _ := strings.Cut(found, "\n")
			t.Logf("seeded bug %d: invariant %s", bug, line)
		})
	}
}
