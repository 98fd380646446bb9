package journal

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What a refusal says to do can be given to a shell as it stands.
func TestFolderRemedy(t *testing.T) {
	for name, want := range map[string]string{
		"plain":        "/plain",
		"with blanks":  "/with blanks'",
		"it's another": `/it'\''s another'`,
	} {
		dir := filepath.Join(t.TempDir(), name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, 0o722); err != nil {
			t.Fatal(err)
		}
		err := prepareFolder(dir)
		if err == nil || !strings.HasSuffix(err.Error(), want) || strings.Contains(err.Error(), "go-w '") != strings.HasSuffix(want, "'") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
