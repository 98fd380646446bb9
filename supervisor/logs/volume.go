package logs

import (
	"sync"
	"sync/atomic"
	"time"
)

// volumeSlots bounds how many write to one log folder at once: a write to a
// dead disk holds a thread, and Go ends a program that has 10,000 of them.
const volumeSlots = 64

// volume is one log folder: what shares its fate.
type volume struct {
	dir   string
	slots chan struct{}
	print func(string)

	notices *notices
	pack    *compressor

	jammed atomic.Bool // all slots are held by writes that do not return

	mu     sync.Mutex
	broken map[*logFile]struct{}
	said   map[string]struct{} // causes already told
}

func newVolume(dir string, fsys filesystem, print func(string), n *notices) *volume {
	v := &volume{
		dir:     dir,
		slots:   make(chan struct{}, volumeSlots),
		print:   print,
		notices: n,
		broken:  make(map[*logFile]struct{}),
		said:    make(map[string]struct{}),
	}
	v.pack = newCompressor(v, fsys)
	return v
}

// enter takes a slot, waiting at most d. False: the folder's disk is stuck.
func (v *volume) enter(d time.Duration) bool {
	select {
	case v.slots <- struct{}{}:
		return true
	default:
	}
	if v.jammed.Load() {
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case v.slots <- struct{}{}:
		return true
	case <-t.C:
		v.jammed.Store(true)
		return false
	}
}

func (v *volume) leave() {
	v.jammed.Store(false)
	<-v.slots
}

func (v *volume) say(message string) { v.print(message) }

// fails tells once for each cause that logs cannot be written, however many
// instances find it out.
func (v *volume) fails(l *logFile, dir string, err error) {
	why := cause(err)
	v.mu.Lock()
	v.broken[l] = struct{}{}
	_, told := v.said[why]
	v.said[why] = struct{}{}
	v.mu.Unlock()
	if !told {
		v.notices.add(Notice{Text: "logs in " + dir + " cannot be written: " + why + ": lines are lost from files until they can; the last are kept in memory"})
		v.print("cannot write " + l.path + ": " + why + ": lines are lost from files but the last are kept in memory; it is tried again: see that " + dir + " is writable and has room")
	}
}

// works tells that all in this folder can be written again.
func (v *volume) works(l *logFile) {
	v.mu.Lock()
	_, was := v.broken[l]
	delete(v.broken, l)
	all := was && len(v.broken) == 0
	if all {
		clear(v.said)
	}
	v.mu.Unlock()
	if all {
		v.print("logs in " + v.dir + " are written again")
	}
}

// forget drops l, which is not used any more.
func (v *volume) forget(l *logFile) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if delete(v.broken, l); len(v.broken) == 0 {
		clear(v.said)
	}
}
