package copytree

import (
	"context"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

const (
	chunk  = 8 << 20   // how much is copied between two looks at the context
	buffer = 256 << 10 // where the kernel does not copy by itself
)

// Content makes dst, which is empty and open for writing, hold what src holds, of
// which there are size bytes. cloned says that both share their blocks now.
// progress (nil: none) hears of each part of size that was done.
// io.ErrUnexpectedEOF is a src that has become shorter meanwhile.
func Content(ctx context.Context, dst, src int, size int64, progress func(int64)) (cloned bool, err error) {
	if progress == nil {
		progress = func(int64) {}
	}
	if size == 0 {
		return false, ctx.Err()
	}
	// Whatever it refuses for (another filesystem, one that cannot, an odd block
	// size, no space), the copy can do or says better.
	if err := retry(func() error { return unix.IoctlFileClone(dst, src) }); err == nil {
		progress(size)
		return true, ctx.Err()
	}
	if err := retry(func() error { return unix.Ftruncate(dst, size) }); err != nil {
		return false, os.NewSyscallError("ftruncate", err)
	}
	c := copier{dst: dst, src: src, most: min(size, buffer)}
	for at := int64(0); at < size; {
		data, hole, err := segment(src, at, size)
		if err != nil {
			return false, err
		}
		progress(data - at)
		for at = data; at < hole; {
			if err := ctx.Err(); err != nil {
				return false, err
			}
			n, err := c.some(at, min(hole-at, chunk))
			if err != nil {
				return false, err
			}
			at += n
			progress(n)
		}
	}
	return false, nil
}

// segment is the next part of src, from at on, that is no hole. At its end both
// are size.
func segment(src int, at, size int64) (data, hole int64, err error) {
	err = retry(func() (err error) { data, err = unix.Seek(src, at, unix.SEEK_DATA); return err })
	switch {
	case err == unix.ENXIO:
		if end, err := unix.Seek(src, 0, io.SeekEnd); err != nil || end < size {
			return 0, 0, io.ErrUnexpectedEOF
		}
		return size, size, nil
	case err != nil:
		return at, size, nil // the filesystem knows of no holes
	case data >= size:
		return size, size, nil // it has grown, which is for others to notice
	}
	err = retry(func() (err error) { hole, err = unix.Seek(src, data, unix.SEEK_HOLE); return err })
	if err == unix.ENXIO {
		return 0, 0, io.ErrUnexpectedEOF
	}
	if err != nil {
		return 0, 0, os.NewSyscallError("lseek", err)
	}
	return data, min(hole, size), nil
}

// copier copies parts of a file, in the kernel as long as it can.
type copier struct {
	dst, src int
	most     int64  // how large buf is to be
	buf      []byte // set: the kernel cannot
}

// some copies up to n bytes at an offset, and says how many: at least one.
func (c *copier) some(at, n int64) (int64, error) {
	if c.buf == nil {
		from, to := at, at
		var done int
		err := retry(func() (err error) { done, err = unix.CopyFileRange(c.src, &from, c.dst, &to, int(n), 0); return err })
		switch err {
		case nil:
			if done > 0 {
				return int64(done), nil
			}
			// The end; or one of the filesystems that say so of all they have.
		case unix.ENOSPC, unix.EDQUOT, unix.EIO, unix.EFBIG, unix.EROFS:
			return 0, os.NewSyscallError("copy_file_range", err)
		default:
			// Two filesystems, or one that cannot, or a seccomp filter.
		}
		c.buf = make([]byte, c.most)
	}
	b := c.buf[:min(n, int64(len(c.buf)))]
	var got int
	if err := retry(func() (err error) { got, err = unix.Pread(c.src, b, at); return err }); err != nil {
		return 0, os.NewSyscallError("read", err)
	}
	if got == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	for done := 0; done < got; {
		var w int
		err := retry(func() (err error) { w, err = unix.Pwrite(c.dst, b[done:got], at+int64(done)); return err })
		if err != nil {
			return 0, os.NewSyscallError("write", err)
		}
		done += w
	}
	return int64(got), nil
}

// Sync puts a file, or a folder's names, on disk.
func Sync(fd int) error {
	return os.NewSyscallError("fsync", retry(func() error { return unix.Fsync(fd) }))
}

// SyncAll puts all of the filesystem that fd is of on disk: for many files at once
// it takes less than to sync each.
func SyncAll(fd int) error {
	return os.NewSyscallError("syncfs", retry(func() error { return unix.Syncfs(fd) }))
}

// SyncFolder puts a folder's names on disk.
func SyncFolder(path string) error {
	fd, err := Open(path)
	if err != nil {
		return err
	}
	defer Close(fd)
	return Sync(fd)
}
