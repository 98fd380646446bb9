package cmd_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nines/ipc"
)

// TestApplyKillPoints ends the supervisor at each point of an apply, by a hook that
// only this build has: the next one goes on with it to the end. What was kept on
// disk is what runs then, also where nothing of it had begun.
func TestApplyKillPoints(t *testing.T) {
	bin := binaries(t)
	faulty, err := faultyOnce()
	if err != nil {
		t.Fatal(err)
	}
	for _, point := range []string{
		"before-apply", "before-intent", "after-intent", "before-clone", "after-clone", "before-known",
		"exit-peeked", "exit-told", "exit-reaped",
	} {
		t.Run(point, func(t *testing.T) { t.Parallel(); applyKillPoint(t, bin, faulty, point) })
	}
}

func applyKillPoint(t *testing.T, bin, faulty, point string) {
	r := faultyRig(t, bin, faulty)
	dir := r.dir
	before := model{"web": {n: 2, enabled: true}, "kept": {n: 1, enabled: true}, "gone": {n: 1, enabled: true}}
	after := model{"web": {n: 2, enabled: true, variant: 1}, "kept": {n: 1, enabled: true}, "new": {n: 1, enabled: true}}
	if err := os.WriteFile(dir+"/nines.hcl", []byte(before.spec()), 0o644); err != nil {
		t.Fatal(err)
	}
	r.startFaulty(t, point)
	o := &operations{t: t, r: r}
	_, pids := o.settle("the start", []model{before})
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	var now map[string]int
	restarts := 0
	for {
		if err := os.WriteFile(dir+"/once", []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := r.client().Apply(ctx, ipc.ApplyRequest{Files: []ipc.SpecFile{{Name: "after.hcl", Text: after.spec()}}})
		restarts++
		if point == "before-intent" && err != nil && !keptAfter(t, dir) && ctx.Err() == nil {
			// There was something else to be told before the request came.
			o.settle("what came before the apply", []model{before})
			continue
		}
		_, now = o.settle(fmt.Sprintf("the apply (%v)", err), []model{after})
		break
	}
	if _, err := os.Stat(dir + "/once"); err == nil {
		t.Fatalf("it did not die at %s", point)
	}
	if now["kept/0"] != pids["kept/0"] {
		t.Errorf("kept/0 had pid %d and has %d\n%s", pids["kept/0"], now["kept/0"], r.out.String())
	}
	if st := status(t, r); st.Supervisor.Restarts != restarts {
		t.Errorf("%d restarts of the supervisor", st.Supervisor.Restarts)
	}
	if err := r.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "nines-init has ended", func() error {
		select {
		case <-r.done:
			return nil
		default:
			return fmt.Errorf("it runs")
		}
	})
	r.cmd = nil
	if left := r.marked(); len(left) > 0 {
		t.Errorf("pids %v are left", left)
	}
}

// keptAfter says whether the second specification is on disk.
func keptAfter(t *testing.T, dir string) bool {
	t.Helper()
	files, err := filepath.Glob(dir + "/state/applied-*.json")
	if err != nil || len(files) > 1 {
		t.Fatalf("%q, %v", files, err)
	}
	if len(files) == 0 {
		return false
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(b), "after.hcl")
}
