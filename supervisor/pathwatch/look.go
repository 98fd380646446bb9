package pathwatch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"nines/supervisor/copytree"
)

// maxLinks is the kernel's.
const maxLinks = 40

// trace is the way that the kernel takes to path: each name that it looks up, in
// which folder. real is where it ends; "" where that leads nowhere yet.
func trace(path string) (steps []step, real string, err error) {
	at := "/"
	rest := split(path)
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		if name == ".." {
			at = filepath.Dir(at)
			continue
		}
		steps = append(steps, step{at, name})
		full := filepath.Join(at, name)
		fi, err := os.Lstat(full)
		if errors.Is(err, fs.ErrNotExist) {
			return steps, "", nil
		}
		if err != nil {
			return steps, "", err
		}
		if fi.Mode()&fs.ModeSymlink == 0 {
			if len(rest) > 0 && !fi.IsDir() {
				return steps, "", nil
			}
			at = full
			continue
		}
		if links++; links > maxLinks {
			return steps, "", nil // it leads in circles, until somebody changes it
		}
		to, err := os.Readlink(full)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
			return steps, "", nil
		}
		if err != nil {
			return steps, "", err
		}
		if filepath.IsAbs(to) {
			at = "/"
		}
		rest = append(split(to), rest...)
	}
	return steps, at, nil
}

// split is the names of a path.
func split(path string) []string {
	var names []string
	for rest := path; rest != ""; {
		var name string
		if name, rest = cut(rest); name != "" && name != "." {
			names = append(names, name)
		}
	}
	return names
}

func cut(path string) (name, rest string) {
	for i := range len(path) {
		if path[i] == '/' {
			return path[:i], path[i+1:]
		}
	}
	return path, ""
}

// maxFolders bounds how many folders of one release are watched.
const maxFolders = 4096

// below adds the folders of a folder, for any name in them.
func (t *target) below(steps []step, real string) ([]step, error) {
	fi, err := os.Lstat(real)
	if err != nil || !fi.IsDir() {
		return steps, nil // gone is for the next look
	}
	if t.concerns != nil {
		return append(steps, step{real, ""}), nil
	}
	n := 0
	err = filepath.WalkDir(real, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !d.IsDir() {
			return err
		}
		if n++; n > maxFolders {
			return fmt.Errorf("there are more than %d folders below %s", maxFolders, real)
		}
		steps = append(steps, step{path, ""})
		return nil
	})
	return steps, err
}

// sign makes the signature of all that is there, and says whether somebody is
// writing to one of the files.
func (t *target) sign(ctx context.Context, there []string) (signature string, writing bool, err error) {
	var all []string
	for _, real := range there {
		names := []string{real}
		if t.concerns != nil {
			if names, err = t.in(real); err != nil {
				return "", false, err
			}
		}
		for _, name := range names {
			one, being, err := sign(ctx, name)
			if err != nil && t.concerns != nil && errors.Is(err, fs.ErrNotExist) {
				continue // a link that leads nowhere
			}
			if err != nil {
				return "", false, err
			}
			writing = writing || being
			if t.concerns != nil {
				one = strconv.Quote(name) + one
			}
			all = append(all, one)
		}
	}
	if len(all) == 1 {
		return all[0], writing, nil
	}
	sum := sha256.Sum256([]byte(strings.Join(all, "\n")))
	return hex.EncodeToString(sum[:]), writing, nil
}

// in is a file itself, and of a folder what concerns in it.
func (t *target) in(real string) ([]string, error) {
	entries, err := os.ReadDir(real)
	if errors.Is(err, syscall.ENOTDIR) {
		return []string{real}, nil
	}
	var names []string
	for _, e := range entries {
		if t.concerns(e.Name()) {
			names = append(names, filepath.Join(real, e.Name()))
		}
	}
	return names, err
}

func sign(ctx context.Context, path string) (signature string, writing bool, err error) {
	fd, err := copytree.Open(path)
	if err != nil {
		return "", false, err
	}
	defer copytree.Close(fd)
	return copytree.Signature(ctx, fd)
}
