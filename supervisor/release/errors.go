package release

import "errors"

// What a caller may act on. Errors tell more: they wrap one of these, or an errno.
var (
	// ErrChanging: somebody is writing what is to be added. Try again once they have
	// finished.
	ErrChanging = errors.New("it is being written just now")
	// ErrSpecial: there is something in it that is no file, folder or link.
	ErrSpecial = errors.New("it is no file, folder or link")
	// ErrMany: it is made of more than can be kept.
	ErrMany = errors.New("it is made of more than 200000 files")
	// ErrMissing: no such release is in the store.
	ErrMissing = errors.New("it is not in the store")
	// ErrCorrupt: what is in the store is not what was added.
	ErrCorrupt = errors.New("it is damaged")
	// ErrBusy: a process has a file of the store open for writing.
	ErrBusy = errors.New("a process has it open for writing")
)
