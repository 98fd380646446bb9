package logs

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"time"
)

// A rotated file has a number, 1 for the newest, and one of two forms: as it
// was written, 0.log.1, or compressed, 0.log.1.gz. For a moment, or after a
// death, there may be both; then the compressed one is whole, because it gets
// its name only when it is on the disk, and the other is superfluous.

// numbered is the n-th older file; 0 is the current one.
func numbered(path string, n int) string {
	if n == 0 {
		return path
	}
	return path + "." + strconv.Itoa(n)
}

// packed is the n-th older file, compressed.
func packed(path string, n int) string { return numbered(path, n) + ".gz" }

// rotate renames 0.log to 0.log.1 and so on, from the oldest down, and opens a
// new 0.log. Only files up to the first missing number move: if an earlier
// rotation was cut short by death, its gap is filled and nothing is dropped for
// it. A rename that fails leaves the file growing; the next line tries again,
// after a pause. It reports whether there is a file to write to.
func (l *logFile) rotate(s *Settings, now time.Time) bool {
	if l.rotated != nil && now.Before(l.retryAt) {
		return true
	}
	l.names.Lock()
	err := l.shift(s.Keep)
	if err == nil {
		l.rot.Add(1)
	}
	l.names.Unlock()
	if err != nil {
		l.rotated = err
		l.pause = min(max(2*l.pause, retryFirst), retryMost)
		l.retryAt = now.Add(l.pause)
		l.vol.say("cannot rotate " + l.path + ": " + cause(err) + ": it grows past its max_size until that works")
		return true
	}
	l.rotated, l.pause = nil, 0
	l.close()
	if err := l.open(); err != nil {
		l.fail(s.Dir, err, now)
		return false
	}
	return true
}

// shift makes room for the current file and gives it number 1. names is held.
func (l *logFile) shift(keep int) error {
	if keep <= 0 {
		if err := l.fs.Remove(l.path); err != nil {
			return err
		}
		l.trim(0)
		return nil
	}
	gap := 1
	for ; gap < keep; gap++ {
		if there, err := exists(l.fs, l.path, gap); err != nil {
			return err
		} else if !there {
			break
		}
	}
	// Not by renaming over it: it may have the other form.
	if _, err := discard(l.fs, l.path, gap); err != nil {
		return err
	}
	for n := gap; n > 1; n-- {
		if err := l.move(n - 1); err != nil {
			return err
		}
	}
	if err := l.fs.Rename(l.path, numbered(l.path, 1)); err != nil {
		return err
	}
	l.trim(keep)
	return nil
}

// move gives number n+1 to file n, of which there is one.
func (l *logFile) move(n int) error {
	err := l.fs.Rename(packed(l.path, n), packed(l.path, n+1))
	if errors.Is(err, fs.ErrNotExist) {
		return l.fs.Rename(numbered(l.path, n), numbered(l.path, n+1))
	}
	return err
}

// trim removes what a larger keep has left behind.
func (l *logFile) trim(keep int) {
	for n := keep + 1; ; n++ {
		there, err := discard(l.fs, l.path, n)
		if err != nil {
			l.vol.say("cannot remove an old log: " + err.Error())
		}
		if !there || err != nil {
			return
		}
	}
}

// exists reports whether there is an n-th older file in either form, and leaves
// it in one.
func exists(fsys filesystem, path string, n int) (bool, error) {
	plain, err := lies(fsys, numbered(path, n))
	if err != nil {
		return false, err
	}
	gz, err := lies(fsys, packed(path, n))
	if err == nil && plain && gz {
		err = ignoreMissing(fsys.Remove(numbered(path, n)))
	}
	return plain || gz, err
}

func lies(fsys filesystem, path string) (bool, error) {
	_, err := fsys.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// discard removes the n-th older file, whatever its form.
func discard(fsys filesystem, path string, n int) (there bool, err error) {
	for _, name := range [...]string{numbered(path, n), packed(path, n)} {
		switch err := fsys.Remove(name); {
		case err == nil:
			there = true
		case !errors.Is(err, fs.ErrNotExist):
			return true, err
		}
	}
	return there, nil
}

// sameFile reports whether path is still the file that info is of.
func sameFile(fsys filesystem, path string, info fs.FileInfo) bool {
	there, err := fsys.Stat(path)
	return err == nil && os.SameFile(there, info)
}
