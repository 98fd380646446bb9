package snapshot

import (
	"errors"
	"fmt"
	"syscall"
)

// What a caller may act on; errors wrap one of these, or an errno.
var (
	// ErrChanging: somebody writes to the data while they are copied.
	ErrChanging = errors.New("it is being written just now: is everything that uses it stopped?")
	// ErrMount: there is a mount point where none can be put back.
	ErrMount = errors.New("it is a mount point: name it as a path of its own in data.paths, or leave it out")
	// ErrNested: one path is within another.
	ErrNested = errors.New("one of data.paths is within another")
	// ErrMoved: the path leads elsewhere than when the snapshot was taken.
	ErrMoved = errors.New("it leads elsewhere than when the snapshot was taken")
	// ErrMissing: there is no such snapshot.
	ErrMissing = errors.New("there is no such snapshot")
	// ErrUnmounted: neither the data nor the copy that was to replace them is there.
	ErrUnmounted = errors.New("what was there is not: is its filesystem mounted?")
	// ErrSpecial: it is neither file nor folder.
	ErrSpecial = errors.New("it is neither a file nor a folder")
	// ErrDamaged: what the store says of a snapshot or a restore cannot be read.
	ErrDamaged = errors.New("what the store says of it is damaged")
)

// ErrSpace is a copy for which there is not enough space, found out before it was
// begun. errors.Is says that it is ENOSPC.
type ErrSpace struct {
	Path       string // of the filesystem
	Need, Free int64  // bytes
}

func (e *ErrSpace) Error() string {
	return fmt.Sprintf("there are %d bytes to copy, and %d are free at %s", e.Need, e.Free, e.Path)
}

// Is says that it is what would have come later.
func (e *ErrSpace) Is(target error) bool { return target == syscall.ENOSPC }
