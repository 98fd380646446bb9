package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"nines/spec"
	"nines/supervisor/probe"
)

// CanaryName is the file that is written, in the folder that is checked.
const CanaryName = ".nines-canary"

// canarySize is a page: less could be kept in the inode itself.
const canarySize = 4096

// readOnly is ST_RDONLY of statfs(2).
const readOnly = 1

// disk looks at a filesystem: what is free, in percent of what those may use who
// are not root, as df has it; and whether it can be written, by a file that is
// synced to the device and removed again.
type disk struct {
	block  spec.NodeDisk
	busy   chan struct{} // holds one while an attempt is at the filesystem
	statfs func(path string, st *syscall.Statfs_t) error
	write  func(folder string) error
}

func newDisk(block *spec.NodeDisk) *disk {
	return &disk{block: *block, busy: make(chan struct{}, 1), statfs: syscall.Statfs, write: writeCanary}
}

// probe makes one attempt, unless the one before has not come back.
func (d *disk) probe(ctx context.Context) probe.Result {
	select {
	case d.busy <- struct{}{}:
	default:
		return d.stuck()
	}
	done := make(chan probe.Result, 1)
	go func() {
		r := d.look()
		<-d.busy // before the answer: who has it may try again at once
		done <- r
	}()
	select {
	case r := <-done:
		return r
	case <-ctx.Done():
		return d.stuck()
	}
}

func (d *disk) stuck() probe.Result {
	return probe.Result{Err: &probe.Error{Cause: probe.Timeout, Text: "the filesystem of " + d.block.Path + " does not answer"}}
}

// look may block for ever.
func (d *disk) look() probe.Result {
	var st syscall.Statfs_t
	err := d.statfs(d.block.Path, &st)
	for err == syscall.EINTR {
		err = d.statfs(d.block.Path, &st)
	}
	if err != nil {
		return d.failed(probe.Wrong, "cannot look at "+d.block.Path+": "+err.Error(), err)
	}
	output, wrong := d.space(&st)
	if wrong != "" {
		return probe.Result{Output: output, Err: &probe.Error{Cause: probe.Bound, Text: wrong}}
	}
	if !d.block.Writable {
		return probe.Result{Output: output}
	}
	if st.Flags&readOnly != 0 {
		return d.failed(probe.Wrong, "the filesystem of "+d.block.Path+" is read-only", syscall.EROFS)
	}
	switch err := d.write(d.block.Path); {
	case err == nil:
	case errors.Is(err, fs.ErrPermission):
		// Whether we may says nothing of the filesystem.
		return d.failed(probe.Unable, "cannot try to write to "+d.block.Path+": "+err.Error()+"; let the supervisor's user write there, or say writable = false", err)
	case errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM):
		return d.failed(probe.Unable, "cannot try to write to "+d.block.Path+": "+err.Error(), err)
	default:
		return d.failed(probe.Wrong, "cannot write to "+d.block.Path+": "+err.Error(), err)
	}
	return probe.Result{Output: output}
}

func (d *disk) failed(cause probe.Cause, text string, err error) probe.Result {
	return probe.Result{Err: &probe.Error{Cause: cause, Text: text, Err: err}}
}

// space judges what is free; a filesystem that does not count (of inodes: many)
// is not judged by it.
func (d *disk) space(st *syscall.Statfs_t) (output, wrong string) {
	free, inodes := 100.0, 100.0
	if all := st.Blocks - min(st.Bfree, st.Blocks) + st.Bavail; st.Blocks > 0 && all > 0 {
		free = 100 * float64(st.Bavail) / float64(all)
	}
	if st.Files > 0 {
		inodes = 100 * float64(min(st.Ffree, st.Files)) / float64(st.Files)
	}
	output = fmt.Sprintf("%s has %s of its space and %s of its inodes free", d.block.Path, percent(free), percent(inodes))
	switch {
	case free < d.block.Free:
		wrong = fmt.Sprintf("%s has %s of its space free, less than %s (free)", d.block.Path, percent(free), percent(d.block.Free))
	case inodes < d.block.Inodes:
		wrong = fmt.Sprintf("%s has %s of its inodes free, less than %s (inodes)", d.block.Path, percent(inodes), percent(d.block.Inodes))
	}
	return output, wrong
}

// writeCanary writes a file, waits until the device has it, and removes it. It
// follows no link, and what is there under that name is taken away: it was left
// by a supervisor that was killed.
func writeCanary(folder string) error {
	name := filepath.Join(folder, CanaryName)
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return reason(err)
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return reason(err)
	}
	_, err = f.Write(make([]byte, canarySize))
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if rerr := os.Remove(name); err == nil {
		err = rerr
	}
	return reason(err)
}

// reason is the errno without the path, which has been named.
func reason(err error) error {
	var no syscall.Errno
	if errors.As(err, &no) {
		return no
	}
	return err
}
