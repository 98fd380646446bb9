package logs

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	fileMode   = 0o640
	folderMode = 0o750

	stampLayout = "2006-01-02T15:04:05.000000Z"
	stampLen    = len(stampLayout) + 1 // and a space

	maxOut     = 256 << 10 // formatted bytes of one write(2)
	retryFirst = 100 * time.Millisecond
	retryMost  = 10 * time.Second
	checkEvery = time.Second // is it still our file that lies there?
)

var errStuck = errors.New("a write did not return in time")

// logFile writes one sink's file and rotates it. Whoever holds the sink's turn
// owns it; only rot is read by others.
type logFile struct {
	fs  filesystem
	vol *volume

	// names is held, for writing, while rotated files get other names, so that
	// the n-th older file is the n-th all the time that somebody looks for it.
	names sync.RWMutex

	path    string
	f       file
	info    fs.FileInfo // of the file last open
	size    int64
	rot     atomic.Int64 // rotations made; names the files of a place
	checked time.Time

	mid       any   // whose line is unfinished at the end of the file
	clean     bool  // the file ends with a newline, or is empty
	lineStart place // of the last line begun
	held      held  // an unfinished line that is not written yet

	failed  error // nil: it works
	retryAt time.Time
	pause   time.Duration
	lost    uint64 // lines not written and not yet said
	reason  error
	torn    any // whose unfinished line has lost something, uncounted as yet
	rotated error
}

// end returns the place where the next line goes. It is not valid if nothing
// is known of the file.
func (l *logFile) end() place {
	return place{rot: l.rot.Load(), off: l.size, valid: l.f != nil}
}

// prepare opens the file that s names, so that end is known before anything is
// published. It reports whether append may be tried.
func (l *logFile) prepare(s *Settings, now time.Time) bool {
	if l.failed != nil && now.Before(l.retryAt) {
		return false
	}
	path := s.path()
	if l.f != nil && (l.path != path || !l.current(now)) {
		l.close()
	}
	if l.f != nil {
		return true
	}
	old := l.info
	l.path, l.checked = path, now
	if err := l.open(); err != nil {
		l.fail(s.Dir, err, now)
		return false
	}
	if old != nil && !os.SameFile(old, l.info) {
		l.rot.Add(elsewhere)
	}
	return true
}

// elsewhere is added to rot where a file is no successor of the one before, so
// that no place in that one is looked for in this one's.
const elsewhere = 1 << 32

// current reports whether the open file is still the one at its path: somebody
// may have moved or removed it, and a removed one would fill the disk unseen.
func (l *logFile) current(now time.Time) bool {
	if now.Sub(l.checked).Abs() < checkEvery {
		return true
	}
	l.checked = now
	there, err := l.fs.Stat(l.path)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	if !os.SameFile(there, l.info) {
		return false
	}
	if there.Size() < l.size { // truncated in place, as logrotate's copytruncate does
		l.size = there.Size()
		l.rot.Add(elsewhere)
	}
	return true
}

func (l *logFile) open() error {
	f, err := l.fs.OpenAppend(l.path, fileMode)
	if errors.Is(err, fs.ErrNotExist) {
		if err = l.fs.MkdirAll(filepath.Dir(l.path), folderMode); err != nil {
			return err
		}
		f, err = l.fs.OpenAppend(l.path, fileMode)
	}
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: l.path, Err: errors.New("not a regular file")}
	}
	clean := true
	if err == nil && info.Size() > 0 {
		var last [1]byte
		if _, err = f.ReadAt(last[:], info.Size()-1); err == nil {
			clean = last[0] == '\n'
		}
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	l.f, l.info, l.size, l.mid, l.clean = f, info, info.Size(), nil, clean
	return nil
}

func (l *logFile) close() {
	if l.f == nil {
		return
	}
	// What close says of written data was said by write, but on NFS; nothing
	// can be done here that is not done on the next write's error.
	_ = l.f.Close()
	l.f, l.mid, l.clean = nil, nil, true
}

// append writes what src wrote, each line with its stamp. out is scratch; it
// is returned for reuse. prepare returned true just before.
func (l *logFile) append(s *Settings, src any, b, out []byte, now time.Time) []byte {
	var buf [stampLen + 4]byte
	stamp := append(now.UTC().AppendFormat(buf[:0], stampLayout), ' ')
	if !l.settle(s, now) {
		l.dropHeld(src, b)
		return out
	}
	out = out[:0]
	if l.held.src != nil { // it was JSON before
		key := s.key()
		out = l.release(&key, out)
	}
	if l.mid != src && (l.mid != nil || !l.clean) {
		out = append(out, '\n')
		l.mid = nil
	}
	cont := l.mid == src
	for at := 0; at < len(b); {
		n := bytes.IndexByte(b[at:], '\n') + 1
		if n == 0 {
			n = len(b) - at
		}
		if cont {
			cont = false
		} else {
			used := l.size + int64(len(out))
			full := s.MaxSize > 0 && used > 0 && uint64(used)+uint64(stampLen+n) > s.MaxSize
			if full || len(out)+stampLen+n > maxOut && len(out) > 0 {
				ok := l.flush(s, out, now)
				out, l.mid = out[:0], nil
				if !ok || full && !l.rotate(s, now) {
					l.drop(src, b[at:])
					return out
				}
			}
			l.lineStart = place{rot: l.rot.Load(), off: l.size + int64(len(out)), valid: true}
			out = append(out, stamp...)
		}
		out = append(out, b[at:at+n]...)
		at += n
	}
	unfinished := b[len(b)-1] != '\n'
	switch ok := l.flush(s, out, now); {
	case ok && unfinished:
		l.mid = src
	case ok:
		l.mid = nil
	case unfinished:
		l.torn = src
	}
	return out
}

// settle says what was lost, if anything was.
func (l *logFile) settle(s *Settings, now time.Time) bool {
	n := l.lost
	if l.torn != nil {
		n++
	}
	if n == 0 {
		return true
	}
	line := make([]byte, 0, 160)
	if l.mid != nil || !l.clean {
		line = append(line, '\n')
	}
	text := lostText(n, l.reason)
	if s.Format == FormatJSON {
		key := s.key()
		line = appendObject(line, &key, now, []byte("nines: "+text), false)
	} else {
		line = now.UTC().AppendFormat(line, stampLayout)
		line = append(line, " nines: "+text+"\n"...)
	}
	l.mid = nil
	written, ok := l.write(s, line, now)
	if written >= len(line)-1 { // its newline comes before the next line
		l.vol.notices.add(lostNotice(s, n, text))
		l.lost, l.torn = 0, nil
	}
	return ok
}

// flush writes whole lines and perhaps the beginning of one. On failure what
// was not written is counted, but for an unfinished line.
func (l *logFile) flush(s *Settings, out []byte, now time.Time) bool {
	n, ok := l.write(s, out, now)
	if !ok {
		l.lost += uint64(bytes.Count(out[n:], []byte{'\n'}))
		if out[n] == '\n' { // only that is missing, and comes before the next line
			l.lost--
		}
	}
	return ok
}

func lostText(n uint64, reason error) string {
	text := strconv.FormatUint(n, 10) + " lines lost: "
	if n == 1 {
		text = "1 line lost: "
	}
	return text + cause(reason)
}

// cause is an error without the path, which the reader of a log knows.
func cause(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	if err == nil {
		return "unknown reason"
	}
	return err.Error()
}

// drop counts the lines of b as lost. One of which only a part is in b is
// counted when it ends, or when something else is written.
func (l *logFile) drop(src any, b []byte) {
	if l.torn != nil && l.torn != src {
		l.lost++
	}
	l.lost += uint64(bytes.Count(b, []byte{'\n'}))
	if b[len(b)-1] != '\n' {
		l.torn = src
	} else {
		l.torn = nil
	}
	l.mid = nil
}

func (l *logFile) write(s *Settings, b []byte, now time.Time) (int, bool) {
	if len(b) == 0 {
		return 0, true
	}
	n, err := l.f.Write(b)
	l.size += int64(n)
	if n > 0 {
		l.clean = b[n-1] == '\n'
	}
	if err != nil {
		l.fail(s.Dir, err, now)
		return n, false
	}
	if l.failed != nil {
		l.failed, l.pause = nil, 0
		l.vol.works(l)
	}
	return n, true
}

// fail notes why nothing can be written. The file is opened anew before the
// next try: an error may be of the descriptor (ESTALE, a remounted disk).
func (l *logFile) fail(dir string, err error, now time.Time) {
	l.failed, l.reason = err, err
	l.pause = min(max(2*l.pause, retryFirst), retryMost)
	l.retryAt = now.Add(l.pause)
	l.close()
	l.vol.fails(l, dir, err)
}
