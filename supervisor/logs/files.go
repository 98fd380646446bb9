package logs

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"
)

const (
	scanBlock = 32 << 10
	fileBlock = 16 << 10
	// The kernel's clock for files lags behind the one of the stamps, by a tick;
	// that of a network file system may by more.
	mtimeLag = 2 * time.Second
)

// errTooMany: all queries together have too many files open.
var errTooMany = errors.New("cannot read the logs: too many files are read at once: name fewer instances or ask for fewer lines")

// history reads the files of one sink from a place on, the oldest line first.
type history struct {
	hub  *hub
	sink *sink // nil: nobody writes these files, so they are not renamed either
	path string

	at   place // of the next line
	end  place // before this
	f    *kept
	rd   *bufio.Reader
	last int64 // time of the line before, for one without a stamp
}

// kept is a log file open for reading, compressed or not: offsets are of its text.
type kept struct {
	io.ReaderAt
	file file
	size int64
	mod  time.Time
}

// damaged says of a compressed file that it cannot be read.
type damaged struct {
	path string
	err  error
}

func (d *damaged) Error() string { return "cannot read " + d.path + ": " + d.err.Error() }
func (d *damaged) Unwrap() error { return d.err }

// openAt opens the file of rotation rot, whatever it is called now.
func (y *history) openAt(rot int64) (*kept, error) {
	if y.sink != nil {
		y.sink.file.names.RLock()
		defer y.sink.file.names.RUnlock()
	}
	n := y.rotations() - rot
	if n < 0 || n > maxKeep+1 {
		return nil, fs.ErrNotExist
	}
	path := numbered(y.path, int(n))
	f, err := y.hub.fs.Open(path)
	isPacked := n > 0 && errors.Is(err, fs.ErrNotExist)
	if isPacked {
		path = packed(y.path, int(n))
		f, err = y.hub.fs.Open(path)
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	k := &kept{ReaderAt: f, file: f, size: info.Size(), mod: info.ModTime()}
	if isPacked {
		u, err := openPacked(f, k.size)
		if err != nil {
			return nil, errors.Join(&damaged{path, err}, f.Close())
		}
		k.ReaderAt, k.size = u, u.size()
	}
	return k, nil
}

func (y *history) rotations() int64 {
	if y.sink == nil {
		return 0
	}
	return y.sink.file.rot.Load()
}

// seek finds the place of the n-th line before end (n < 0: the oldest line),
// not looking into files that were last written before since.
func (y *history) seek(n int, since time.Time) error {
	y.at = y.end
	missing := 0
	for rot := y.end.rot; n != 0; rot-- {
		f, err := y.acquire(rot)
		if errors.Is(err, fs.ErrNotExist) {
			// One number may be missing: a rotation that death cut short.
			if missing++; missing > 1 {
				return nil
			}
			continue
		}
		if isDamaged(err) {
			continue // next says so, if it comes by
		}
		if err != nil {
			return err
		}
		found, off, older, err := y.scan(f, rot, n, since)
		y.release(f)
		if isDamaged(err) {
			continue
		}
		if err != nil {
			return err
		}
		if older {
			return nil
		}
		y.at = place{rot: rot, off: off, valid: true}
		if n > 0 {
			n -= found
		}
	}
	return nil
}

func isDamaged(err error) bool {
	var d *damaged
	return errors.As(err, &d) || errors.Is(err, errForeign)
}

// scan counts lines of f from its end, at most n, and returns where the first
// of them begins.
func (y *history) scan(f *kept, rot int64, n int, since time.Time) (found int, off int64, older bool, err error) {
	off = f.size
	if rot == y.end.rot {
		off = min(off, y.end.off)
	} else if f.mod.Add(mtimeLag).Before(since) {
		return 0, 0, true, nil
	}
	if n < 0 {
		if since.IsZero() {
			return 0, 0, false, nil
		}
		off, err = seekTime(f, off, since)
		// All that is older than since is in front of off, in this file and in
		// the ones before it.
		return 0, off, false, err
	}
	block := make([]byte, scanBlock)
	limit := off // the newline just before it ends the last line
	for off > 0 {
		b := block[:min(off, scanBlock)]
		if k, err := f.ReadAt(b, off-int64(len(b))); err != nil && (err != io.EOF || k < len(b)) {
			return 0, 0, false, err
		}
		for k := len(b); k > 0; {
			k = bytes.LastIndexByte(b[:k], '\n')
			if k < 0 {
				break
			}
			if start := off - int64(len(b)) + int64(k) + 1; start < limit {
				if found++; found == n {
					return found, start, false, nil
				}
			}
		}
		off -= int64(len(b))
	}
	if limit > 0 {
		found++
	}
	return found, 0, false, nil
}

func (y *history) acquire(rot int64) (*kept, error) {
	select {
	case y.hub.files <- struct{}{}:
	default:
		return nil, errTooMany
	}
	f, err := y.openAt(rot)
	if err != nil {
		<-y.hub.files
		return nil, err
	}
	return f, nil
}

func (y *history) release(f *kept) {
	_ = f.file.Close() // only read from
	<-y.hub.files
}

func (y *history) close() {
	if y.f != nil {
		y.release(y.f)
		y.f, y.rd = nil, nil
	}
}

// extend has the reading go on up to end.
func (y *history) extend(end place) {
	if y.at == y.end && y.f == nil {
		y.at = place{rot: y.end.rot, off: y.end.off, valid: true}
	}
	y.end = end
}

// next returns the next line. ok is false at the end.
func (y *history) next() (it item, ok bool, err error) {
	for {
		if y.at.rot > y.end.rot || y.at.rot == y.end.rot && y.at.off >= y.end.off {
			y.close()
			return item{}, false, nil
		}
		if y.f == nil {
			f, err := y.acquire(y.at.rot)
			if errors.Is(err, fs.ErrNotExist) {
				y.skipFile()
				continue
			}
			if isDamaged(err) {
				return y.passOver(err), true, nil
			}
			if err != nil {
				return item{}, false, err
			}
			y.f = f
			y.rd = bufio.NewReaderSize(io.NewSectionReader(f, y.at.off, 1<<62), fileBlock)
		}
		line, n, err := y.readLine()
		y.at.off += int64(n)
		if n == 0 {
			if isDamaged(err) {
				y.close()
				return y.passOver(&damaged{numbered(y.path, int(y.rotations()-y.at.rot)), err}), true, nil
			}
			if err != nil && err != io.EOF {
				return item{}, false, fmt.Errorf("cannot read %s: %w", y.path, err)
			}
			y.close()
			y.skipFile()
			continue
		}
		return y.parse(line), true, nil
	}
}

// passOver goes on behind a file that cannot be read, with a line that says so.
func (y *history) passOver(err error) item {
	y.skipFile()
	return item{time: y.last, text: []byte("nines: " + err.Error() + ": its lines are left out")}
}

// skipFile goes on with the next newer file. Where the writer went on with an
// unrelated one, that is the end's.
func (y *history) skipFile() {
	rot := y.at.rot + 1
	if y.end.rot-rot > maxKeep {
		rot = y.end.rot
	}
	y.at = place{rot: rot, valid: true}
}

// readLine returns the line without its newline, cut to maxFileLine, and how
// many bytes it took.
func (y *history) readLine() (line []byte, n int, err error) {
	for {
		part, err := y.rd.ReadSlice('\n')
		n += len(part)
		if room := maxFileLine - len(line); room > 0 {
			line = append(line, part[:min(room, len(part))]...)
		}
		if err == bufio.ErrBufferFull {
			continue
		}
		if err == nil && len(line) == n {
			line = line[:n-1]
		} else if cut := n - len(line); cut > 0 {
			line = appendCut(line, cut)
		}
		return line, n, err
	}
}
