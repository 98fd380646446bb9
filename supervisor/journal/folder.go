package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// folderMode lets a service's user through to what is its own below, and lets
// nobody list.
const folderMode = 0o711

// prepareFolder makes the state folder, or refuses one in which others could put
// a file of theirs in the place of ours.
func prepareFolder(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	switch err := os.Mkdir(dir, folderMode); {
	case err == nil:
		// Whatever the umask is: else no service's user could pass.
		if err := os.Chmod(dir, folderMode); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrExist):
		return err
	}
	fi, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !fi.IsDir() {
		return &fs.PathError{Op: "open", Path: dir, Err: syscall.ENOTDIR}
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("cannot tell whose folder %s is", dir)
	}
	if uid := os.Geteuid(); int(st.Uid) != uid && st.Uid != 0 {
		return &folderError{dir, fmt.Sprintf("belongs to uid %d, who could change it", st.Uid), "name another by --state-dir, or chown it"}
	}
	if fi.Mode().Perm()&0o022 != 0 {
		return &folderError{dir, "can be written to by others", "chmod go-w " + shellWord(dir)}
	}
	return nil
}

// folderError is a state folder that is not safe to use.
type folderError struct{ dir, why, todo string }

func (e *folderError) Error() string { return "folder " + e.dir + " " + e.why + ": " + e.todo }

// shellWord is s as a shell takes it for one word.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:@%,=", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
