// Package applied keeps the specification that was applied, so that it holds
// whatever dies: one file in each of some folders, replaced whole and synced
// before anything acts on it.
//
// In the runtime folder it is what the next supervisor goes on with, whatever the
// specification's files have become since. In the state folder it is for the next
// boot: there it holds as long as the files that nines-init was started with are
// as they were when it was applied. Once somebody has changed them, they win.
package applied

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"nines/spec/load"
)

// Version is a specification as text, with what its services ran with.
type Version struct {
	Number  uint64            `json:"number"` // counts up with each apply
	Files   []load.File       `json:"files"`
	Digests map[string]string `json:"digests"` // by service: see spec/diff
	By      string            `json:"by"`
	At      time.Time         `json:"at"`
	Undo    bool              `json:"undo,omitempty"` // it takes back what nobody has confirmed
}

// Confirm is an apply that is undone unless somebody confirms it.
type Confirm struct {
	Within time.Duration `json:"within_ns"`
	// Deadline is on CLOCK_MONOTONIC, in nanoseconds; 0: it does not count yet. It
	// means nothing after a boot.
	Deadline int64 `json:"deadline_ns"`
}

// State is all that is kept.
type State struct {
	Format int     `json:"format"`
	Now    Version `json:"now"`
	// Before is what ran before that was applied; nil: nothing.
	Before *Version `json:"before,omitempty"`
	// Undo is what an apply that is not confirmed goes back to; nil: none waits.
	Undo    *Version `json:"undo,omitempty"`
	Confirm *Confirm `json:"confirm,omitempty"`
	// Boot is Digest of the files that nines-init was started with, as they were
	// then; "": they could not be read.
	Boot string `json:"boot"`
}

const format = 1

// maxState bounds what is read back: three specifications as large as load takes.
const maxState = 512 << 20

// Digest tells specifications apart by their text.
func Digest(files []load.File) string {
	h := sha256.New()
	for _, f := range files {
		h.Write(fmt.Appendf(nil, "%d %d\n%s%s", len(f.Name), len(f.Text), f.Name, f.Text))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Save replaces the file at path. It may hold secrets, in env: it is for its owner
// alone. It is there whole or not at all.
func Save(path string, s *State) error {
	s.Format = format
	b, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("cannot keep the applied spec: %w", err)
	}
	if err := write(path, b); err != nil {
		return fmt.Errorf("cannot keep the applied spec: %w", err)
	}
	return nil
}

func write(path string, b []byte) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return err
	}
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		// A runtime folder may be tiny: half a file must not fill it.
		return errors.Join(err, os.Remove(tmp))
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

// Load reads what Save wrote; nil without an error where there is nothing.
func Load(path string) (*State, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the applied spec: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxState))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	var s State
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err == nil && (s.Format != format || len(s.Now.Files) == 0 || s.Confirm != nil && s.Undo == nil) {
		err = fmt.Errorf("format %d is not %d, or it is not whole", s.Format, format)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the applied spec: %s: %w: it is ignored", path, err)
	}
	return &s, nil
}

// Remove takes the file away; that there is none is no error.
func Remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot forget the applied spec: %w", err)
	}
	return nil
}
