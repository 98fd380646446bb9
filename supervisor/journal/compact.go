package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
)

// What is pruned leaves free pages, which bbolt uses again and never gives back: after
// a bad day the file would be as large for ever. Where most of it is free, what is in
// it is copied to another, which takes its place.
//
//	copied to .compact, synced ──▶ renamed ──▶ folder synced ──▶ opened, the old one closed
//
// A death before the rename leaves the file as it was, and a copy that the next opening
// removes; after it, the copy, which is whole. The copy costs what the file holds, and no
// more: Config bounds that. Nothing is written meanwhile; it is read as ever.
const (
	sparseBytes = 4 << 20 // less free than that is not worth it
	compactTx   = 1 << 20 // bytes of one transaction of the copy
	// compactEvery is how often it is looked at: what one look cannot mend, for
	// want of space, say, the next one can.
	compactEvery = time.Hour
	// compactSpare is what is left free on the disk.
	compactSpare = 16 << 20
)

// sparse says whether so much of a file is free that it is worth a copy.
func sparse(free, size int64) bool { return free >= sparseBytes && free > size/2 }

func (s *store) compactPath() string { return s.path + ".compact" }

// removeCopy removes what a death in the middle of it has left.
func (s *store) removeCopy() error {
	if err := os.Remove(s.compactPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// compact makes the file smaller, if it is worth it. Where there is an error the file
// is what it was, or is not open.
func (s *store) compact() error {
	fi, err := s.file.Stat()
	if err != nil {
		return err
	}
	st := s.db.Stats()
	free, size := int64(st.FreePageN+st.PendingPageN)*int64(s.db.Info().PageSize), fi.Size()
	if !s.cfg.sparse(free, size) {
		return nil
	}
	var disk syscall.Statfs_t
	if err := syscall.Statfs(s.cfg.Dir, &disk); err != nil {
		return os.NewSyscallError("statfs", err)
	}
	// Twice, for bbolt makes a file larger than what it holds.
	if room := int64(disk.Bavail) * disk.Bsize; room < 2*(size-free)+compactSpare {
		return fmt.Errorf("cannot make %s smaller: %d bytes are free on its disk: %w", s.path, room, syscall.ENOSPC)
	}
	if err := s.removeCopy(); err != nil {
		return err
	}
	if err := guarded(s.copyAll); err != nil {
		return errors.Join(err, s.removeCopy())
	}
	if now, err := os.Lstat(s.path); err != nil || !os.SameFile(now, s.info) {
		return errors.Join(errGone, s.removeCopy()) // the next write says so
	}
	if err := os.Rename(s.compactPath(), s.path); err != nil {
		return errors.Join(err, s.removeCopy())
	}
	return errors.Join(syncFolder(s.cfg.Dir), s.change())
}

// copyAll copies what is in the file to another, which is then on disk.
func (s *store) copyAll() (err error) {
	to, err := bolt.Open(s.compactPath(), 0o600, &bolt.Options{
		Timeout: time.Second, FreelistType: bolt.FreelistMapType, NoSync: true, NoGrowSync: true,
		OpenFile: func(path string, flag int, mode os.FileMode) (*os.File, error) {
			return os.OpenFile(path, flag|os.O_EXCL|syscall.O_NOFOLLOW, mode)
		},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	if err := bolt.Compact(to, s.db, compactTx); err != nil {
		return err
	}
	return to.Sync()
}

// change opens the file that is in the place of ours now, and lets go of ours, which
// is read until then.
func (s *store) change() error {
	old, file := s.db, s.file
	s.file = nil
	s.patience = lockPatience // nobody else knows of it yet
	if err := s.attach(false); err != nil {
		s.mu.Lock()
		s.db, s.writable = nil, false
		s.mu.Unlock()
		closeDB(old, file)
		return err // it is opened again as any
	}
	s.writable = true
	closeDB(old, file)
	return nil
}
