package applied

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"nines/spec/load"
)

func TestSaveAndLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "applied.json")
	if s, err := Load(path); s != nil || err != nil {
		t.Fatalf("%v %v", s, err)
	}
	v := Version{Number: 3, Files: []load.File{{Name: "a.hcl", Text: "x"}}, Digests: map[string]string{"web": "d"}, By: "uid 0", At: time.Unix(5, 0).UTC()}
	want := &State{Now: v, Before: &v, Undo: &v, Confirm: &Confirm{Within: time.Second, Deadline: 7}, Boot: "b"}
	if err := Save(path, want); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v %v", got, err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", fi.Mode(), err)
	}
	// One that cannot be written leaves the one before, and nothing half.
	if err := os.Mkdir(path+".new", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Save(path, &State{Now: Version{Number: 4, Files: v.Files}}); err == nil {
		t.Errorf("saved into a folder")
	}
	if got, err := Load(path); err != nil || got.Now.Number != 3 {
		t.Errorf("%+v %v", got, err)
	}
	if err := Remove(path); err != nil {
		t.Error(err)
	}
	if err := Remove(path); err != nil {
		t.Error(err)
	}
}

func TestLoadWhatIsTorn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "applied.json")
	for _, text := range []string{"", "{", "null", `{"format":2,"now":{"files":[{}]}}`, `{"format":1}`, `{"format":1,"now":{"files":[{}]},"confirm":{}}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := Load(path); err == nil || s != nil {
			t.Errorf("%q: %v", text, s)
		}
	}
}

func TestDigest(t *testing.T) {
	a := []load.File{{Name: "a", Text: "bc"}}
	b := []load.File{{Name: "ab", Text: "c"}}
	if Digest(a) == Digest(b) || Digest(nil) == Digest(a) {
		t.Errorf("the digests do not tell them apart")
	}
}
