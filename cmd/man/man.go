// Package man makes the manual: a page for each command of the command line,
// taken from cobra's tree, so that a command cannot be forgotten; the pages of
// the other programs; and nines.hcl(5), the language, which says by package
// load what has no effect yet.
//
// The same tree gives the same bytes: no page holds a date or a version. It is
// linked into the generator alone (cmd/nines with the build tag generate),
// never into what is installed.
package man

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

// Write writes all pages below dir, as dir/man1/nines.1. Folders are made with
// mode 0755, files with 0644. The error names the file.
func Write(dir string, root *cobra.Command) error {
	for _, p := range pages(root) {
		path := filepath.Join(dir, p.path())
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, p.bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func pages(root *cobra.Command) []*page {
	return append(commandPages(root), initPage(), execPage(), logPage(), languagePage())
}
