package logs

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// tempSuffix ends the name of a compressed file that is not whole yet.
const tempSuffix = ".gz.tmp"

// errStopped: the process ends before the work does.
var errStopped = errors.New("it was stopped")

// compressor compresses the rotated files of one volume, one after the other,
// in the background: a thread of the lowest priority that is there only while
// there is something to do. It holds up nobody: of what the writers need it
// takes only the names, for as long as a rename lasts. A death in the middle
// leaves a file ending in tempSuffix, which the next one removes, and the
// rotated file as it was, which is compressed when the next rotation is.
type compressor struct {
	vol     *volume
	fs      filesystem
	stopped atomic.Bool

	mu      sync.Mutex
	queue   []*sink
	queued  map[*sink]struct{}
	sweep   bool // leftovers of an earlier process are to be removed
	running bool
	idle    *sync.Cond
	failed  error // the last complaint
}

func newCompressor(v *volume, fsys filesystem) *compressor {
	c := &compressor{vol: v, fs: fsys, queued: make(map[*sink]struct{}), sweep: true}
	c.idle = sync.NewCond(&c.mu)
	return c
}

// put has the rotated files of k looked after. It never blocks.
func (c *compressor) put(k *sink) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.queued[k]; ok || c.stopped.Load() {
		return
	}
	c.queued[k] = struct{}{}
	c.queue = append(c.queue, k)
	c.startLocked()
}

// begin removes what an earlier process left half done.
func (c *compressor) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.startLocked()
}

func (c *compressor) startLocked() {
	if !c.running && !c.stopped.Load() {
		c.running = true
		go c.run()
	}
}

// stop ends the work soon; wait waits until it has.
func (c *compressor) stop() { c.stopped.Store(true) }

func (c *compressor) wait() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.running {
		c.idle.Wait()
	}
}

func (c *compressor) run() {
	// The thread ends with this goroutine, so what is set here is nobody
	// else's. If it cannot be set, the work is done all the same.
	runtime.LockOSThread()
	const whoProcess, classIdle = 1, 3 << 13
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, 19)
	_, _, _ = unix.RawSyscall(unix.SYS_IOPRIO_SET, whoProcess, 0, classIdle)

	p := newPacker()
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.stopped.Load() && (c.sweep || len(c.queue) > 0) {
		if c.sweep {
			c.sweep = false
			c.mu.Unlock()
			c.clean()
			c.mu.Lock()
			continue
		}
		k := c.queue[0]
		c.queue = c.queue[1:]
		delete(c.queued, k)
		c.mu.Unlock()
		err := c.work(k, p)
		c.mu.Lock()
		c.tell(k, err)
	}
	c.running, c.queue = false, nil
	clear(c.queued)
	c.idle.Broadcast()
}

// tell says what is wrong, once. mu is held.
func (c *compressor) tell(k *sink, err error) {
	if errors.Is(err, errStopped) {
		return
	}
	if err != nil && (c.failed == nil || cause(c.failed) != cause(err)) {
		c.vol.say("cannot compress or remove rotated files of " + k.set.Load().path() + ": " + cause(err) + ": they are kept as they are; it is tried again at the next rotation")
	}
	c.failed = err
}

// clean removes half-done files, of instances that are no more as well.
func (c *compressor) clean() {
	services, err := c.fs.ReadDir(c.vol.dir)
	if err != nil {
		return // not made yet, or not to be read: then there is nothing to mend
	}
	for _, s := range services {
		if !s.IsDir() || c.stopped.Load() {
			continue
		}
		dir := filepath.Join(c.vol.dir, s.Name())
		files, err := c.fs.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, f := range files {
			if !strings.HasSuffix(f.Name(), ".log"+tempSuffix) {
				continue
			}
			if err := ignoreMissing(c.fs.Remove(filepath.Join(dir, f.Name()))); err != nil {
				c.vol.say("cannot remove what a dead nines-log left: " + err.Error())
			}
		}
	}
}

// work compresses every rotated file of k that is not, the newest first: it is
// kept the longest.
func (c *compressor) work(k *sink, p *packer) error {
	l := &k.file
	if err := c.fit(k); err != nil {
		return err
	}
	for {
		s := k.set.Load()
		if !s.ToFile || !s.Compress {
			return nil
		}
		path := s.path()
		l.names.RLock()
		f, id, err := c.next(l, path, s.Keep)
		l.names.RUnlock()
		if f == nil {
			return err
		}
		temp := path + tempSuffix
		err = c.pack(f, temp, p)
		if err == nil {
			err = c.replace(k, f, id, path, temp)
		}
		// Only read from.
		_ = f.Close()
		if err != nil {
			return errors.Join(err, ignoreMissing(c.fs.Remove(temp)))
		}
	}
}

// fit removes what keep, which may be smaller than it was, leaves no room for.
func (c *compressor) fit(k *sink) error {
	k.file.names.Lock()
	defer k.file.names.Unlock()
	s := k.set.Load()
	if !s.ToFile {
		return nil
	}
	// Up to a gap of two: a rotation that death cut short leaves one.
	for n, missing := s.Keep+1, 0; missing < 2; n++ {
		there, err := discard(c.fs, s.path(), n)
		if err != nil {
			return err
		}
		if missing++; there {
			missing = 0
		}
	}
	return nil
}

// next opens the newest rotated file that is not compressed, and returns which
// rotation made it; nil: there is none.
func (c *compressor) next(l *logFile, path string, keep int) (file, int64, error) {
	for n, missing := 1, 0; n <= keep && missing < 2; n++ {
		plain, err := lies(c.fs, numbered(path, n))
		if err != nil {
			return nil, 0, err
		}
		gz, err := lies(c.fs, packed(path, n))
		if err != nil {
			return nil, 0, err
		}
		switch {
		case plain && gz: // a death came just before it was removed
			if err := ignoreMissing(c.fs.Remove(numbered(path, n))); err != nil {
				return nil, 0, err
			}
		case plain:
			f, err := c.fs.Open(numbered(path, n))
			return f, l.rot.Load() - int64(n), err
		case !gz:
			missing++ // one may be: a rotation that death cut short
		}
	}
	return nil, 0, nil
}

// pack writes what is in f, compressed, to temp; then it is on the disk.
func (c *compressor) pack(f file, temp string, p *packer) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	g, err := c.fs.Create(temp, fileMode)
	if err != nil {
		return err
	}
	err = p.copy(g, io.NewSectionReader(f, 0, info.Size()), c.stopped.Load)
	if err == nil {
		err = g.Sync()
	}
	if err = errors.Join(err, g.Close()); err != nil {
		return err
	}
	// A reader that asks for what came since knows old files by it.
	return c.fs.Chtimes(temp, info.ModTime())
}

// replace puts temp in the place of the file that rotation id made, whatever
// its number is by now.
func (c *compressor) replace(k *sink, f file, id int64, path, temp string) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	place := func(do func(n int) error) error {
		k.file.names.Lock()
		defer k.file.names.Unlock()
		n := int(k.file.rot.Load() - id)
		if n < 1 || n > k.set.Load().Keep || !sameFile(c.fs, numbered(path, n), info) {
			// Rotated out, or taken away: then so is this one.
			return fs.ErrNotExist
		}
		return do(n)
	}
	err = place(func(n int) error { return c.fs.Rename(temp, packed(path, n)) })
	if errors.Is(err, fs.ErrNotExist) {
		return ignoreMissing(c.fs.Remove(temp))
	}
	if err == nil {
		err = c.fs.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return err
	}
	return ignoreMissing(place(func(n int) error { return c.fs.Remove(numbered(path, n)) }))
}
