package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// appliedSpec is a copy, in the runtime folder, of the spec files that a first
// supervisor has applied. The one after a crash reads it instead of the files,
// which may have been changed since without anybody wanting that yet.
type appliedSpec struct{ dir string }

// appliedMax bounds how much is copied; load refuses larger files anyway.
const appliedMax = 8 << 20

// forget removes the copy.
func (s appliedSpec) forget() {
	// What cannot be removed is not read either: a first supervisor never reads
	// it, and keep replaces it or fails aloud.
	_ = os.RemoveAll(s.dir)
}

// keep copies the files that paths name, folders as load reads them. The copy
// is there whole or not at all: a runtime folder may be tiny, and the control
// socket is to have room in it.
func (s appliedSpec) keep(paths []string) error {
	err := s.copy(paths)
	if err != nil {
		err = errors.Join(err, os.RemoveAll(s.dir+".new"))
	}
	return err
}

func (s appliedSpec) copy(paths []string) error {
	var files []string
	for _, p := range paths {
		fi, err := os.Stat(p)
		if err != nil {
			return err
		}
		if !fi.IsDir() {
			files = append(files, p)
			continue
		}
		found, err := filepath.Glob(filepath.Join(p, "*.hcl"))
		if err != nil {
			return err
		}
		files = append(files, found...) // sorted by name
	}
	tmp := s.dir + ".new"
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return err
	}
	left := appliedMax
	for i, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		if left -= len(b); left < 0 {
			return fmt.Errorf("the spec is larger than %d bytes", appliedMax)
		}
		// It may hold secrets, in env: for us alone.
		if err := os.WriteFile(filepath.Join(tmp, fmt.Sprintf("%04d-%s", i, filepath.Base(f))), b, 0o600); err != nil {
			return err
		}
	}
	return os.Rename(tmp, s.dir)
}

// files are the copies, in their order; none if there is no copy.
func (s appliedSpec) files() []string {
	entries, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var files []string
	for _, e := range entries {
		files = append(files, filepath.Join(s.dir, e.Name()))
	}
	slices.Sort(files)
	return files
}
