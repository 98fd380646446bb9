package logs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"time"
)

// filesystem is what log files need of the disk; tests put faults in it.
type filesystem interface {
	MkdirAll(path string, mode fs.FileMode) error
	OpenAppend(path string, mode fs.FileMode) (file, error)
	Open(path string) (file, error)
	Stat(path string) (fs.FileInfo, error)
	Rename(from, to string) error
	Remove(path string) error
	// Create makes a file anew, in the place of one that is there.
	Create(path string, mode fs.FileMode) (file, error)
	Chtimes(path string, at time.Time) error
	// SyncDir has the names in a folder survive a power cut.
	SyncDir(path string) error
	ReadDir(path string) ([]fs.DirEntry, error)
}

type file interface {
	io.Writer
	io.ReaderAt
	io.Closer
	Stat() (fs.FileInfo, error)
	Sync() error
}

// disk is the real one.
type disk struct{}

func (disk) MkdirAll(path string, mode fs.FileMode) error { return os.MkdirAll(path, mode) }

func (disk) OpenAppend(path string, mode fs.FileMode) (file, error) {
	// Readable too: whether the last line was finished is seen at its end.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, mode)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (disk) Open(path string) (file, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (disk) Stat(path string) (fs.FileInfo, error)      { return os.Stat(path) }
func (disk) Rename(from, to string) error               { return os.Rename(from, to) }
func (disk) Remove(path string) error                   { return os.Remove(path) }
func (disk) ReadDir(path string) ([]fs.DirEntry, error) { return os.ReadDir(path) }

func (disk) Create(path string, mode fs.FileMode) (file, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (disk) Chtimes(path string, at time.Time) error { return os.Chtimes(path, at, at) }

func (disk) SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
