package cmd_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nines/ipc"
)

// TestDataKillPoints ends the supervisor at each step of keeping a service's data and
// of putting them back, by a hook that only this build has. Version 2 migrates the
// data, which version 1 refuses, and crashes: in the end version 1 runs on its own
// data, whole, and what 2 has made of them lies aside, once.
func TestDataKillPoints(t *testing.T) {
	t.Parallel()
	bin := binaries(t)
	faulty := t.TempDir() + "/nines"
	build := exec.Command("go", "build", "-tags", "ninesfault", "-o", faulty, "nines/cmd/nines")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	points := []string{
		"asked", "made", "copied", "synced", "renamed", "answered",
		"journaled", "copied-back", "staged", "swapping", "aside", "in-place", "recorded", "forgotten", "restored",
	}
	together(t, points, func(p string) string { return p }, func(t *testing.T, p string) { dataKillPoint(t, bin, faulty, "data-"+p) })
}

// dataSpec is a service of that version; it needs no release, since its command tells
// its revisions apart.
func dataSpec(dir string, version int) string {
	return fmt.Sprintf(`
service "shop" {
  command   = ["sh", "-c", "test -e rows || { echo 1 >schema; echo old >rows; }; test $(cat schema) = 1 || exit 78; test $1 = 1 && exec sleep 100000; echo $1 >schema; echo migrated >rows; exit 78", "sh", "%d"]
  directory = "%[2]s/data"
  ready {
    delay = "50ms"
  }
  update {
    min_healthy = "50ms"
  }
  data {
    paths     = ["%[2]s/data"]
    restore   = true
    on_revert = ["sh", "-c", "cat schema >>%[2]s/reverted"]
  }
}
`, version, dir)
}

func dataKillPoint(t *testing.T, bin, faulty, point string) {
	r := faultyRig(t, bin, faulty)
	dir := r.dir
	if err := os.Mkdir(dir+"/data", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/nines.hcl", []byte(dataSpec(dir, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	r.startFaulty(t, point)
	until := func(what string, ok func() error) {
		t.Helper()
		for deadline := time.Now().Add(updatePatience); ; <-time.After(10 * time.Millisecond) {
			err := ok()
			if err == nil {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("waited %s until %s: %v\n%s", updatePatience, what, err, r.out.String())
			}
		}
	}
	// settled: version 1 runs, and no update is under way.
	settled := func() error {
		st, err := r.client().Status(t.Context())
		if err != nil {
			return err
		}
		if v := st.Services[0]; v.State != "running" || v.Revision != 1 || v.Update.State != "idle" {
			return fmt.Errorf("it is %s, %s, at revision %d, %s", v.State, v.Reason, v.Revision, v.Update.State)
		}
		return nil
	}
	until("version 1 runs", settled)
	if err := os.WriteFile(dir+"/once", []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := r.client().Apply(t.Context(), ipc.ApplyRequest{Files: []ipc.SpecFile{{Name: "2.hcl", Text: dataSpec(dir, 2)}}})
	if err == nil {
		t.Errorf("the apply says that version 2 came up")
	}
	until("version 2 was reverted", func() error {
		list, err := r.client().History(t.Context(), "shop")
		if err == nil && (len(list) != 2 || list[0].State != "bad") {
			err = fmt.Errorf("history: %+v", list)
		}
		return errors.Join(err, settled())
	})
	if _, err := os.Stat(dir + "/once"); err == nil {
		t.Errorf("it did not die at %s", point)
	}
	for file, want := range map[string]string{"data/schema": "1\n", "data/rows": "old\n", "data.nines-revision-2-1/schema": "2\n", "data.nines-revision-2-1/rows": "migrated\n"} {
		if b, err := os.ReadFile(dir + "/" + file); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v; want %q", file, b, err, want)
		}
	}
	if beside, err := filepath.Glob(dir + "/data.*"); err != nil || len(beside) != 1 {
		t.Errorf("beside the data are %v, %v", beside, err)
	}
	if left, err := filepath.Glob(dir + "/state/snapshots/.*"); err != nil || len(left) > 0 {
		t.Errorf("in the store are left %v, %v", left, err)
	}
	if b, err := os.ReadFile(dir + "/reverted"); err != nil || strings.Trim(string(b), "1\n") != "" {
		t.Errorf("on_revert saw %q, %v", b, err)
	}
	r.end(t)
	if t.Failed() {
		t.Log(r.out.String())
	}
}
