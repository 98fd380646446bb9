package logs

import (
	"bytes"
	"sync/atomic"
	"time"
)

// sinkKey names a sink: one stream of one instance.
type sinkKey struct {
	service, instance, stream string
}

// sink takes what the pipes of one stream of an instance carry: mostly one
// pipe, two while an incarnation overlaps the next or a grandchild lives on.
type sink struct {
	key  sinkKey
	set  atomic.Pointer[Settings]
	vol  atomic.Pointer[volume] // of set's Dir
	ring ring

	turn  chan struct{} // holds one: who has it owns file
	file  logFile
	stuck atomic.Bool // who has the turn has not come back from the disk

	// What was not even offered to file, because it was stuck.
	skipped     atomic.Uint64
	skippedTorn atomic.Bool

	console atomic.Pointer[console] // nil: not shown on stdout

	pipes int    // open ones; guarded by hub.mu
	used  uint64 // when a pipe was last added, in hub's count; guarded by hub.mu
}

func newSink(s Settings, fs filesystem, vol *volume, b *budget) *sink {
	k := &sink{
		key:  s.key(),
		turn: make(chan struct{}, 1),
	}
	k.set.Store(&s)
	k.vol.Store(vol)
	k.ring.budget = b
	k.file.fs, k.file.vol, k.file.clean = fs, vol, true
	b.join(&k.ring)
	return k
}

// take gets the turn, waiting at most d.
func (k *sink) take(d time.Duration) bool {
	select {
	case k.turn <- struct{}{}:
		return true
	default:
	}
	if k.stuck.Load() {
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case k.turn <- struct{}{}:
		return true
	case <-t.C:
		k.stuck.Store(true) // the next one need not wait for so long
		return false
	}
}

func (k *sink) give() {
	k.stuck.Store(false)
	<-k.turn
}

// write publishes and appends what src wrote. The caller has the turn.
func (k *sink) write(src any, b, out []byte, now time.Time) []byte {
	s := k.set.Load()
	if !s.ToFile {
		k.ring.publish(src, b, now.UnixNano(), place{})
		return out
	}
	k.recount()
	l, rot := &k.file, k.file.rot.Load()
	first := l.info == nil
	ok := k.prepare(s, now)
	k.ring.publish(src, b, now.UnixNano(), l.end())
	if !ok {
		l.dropHeld(src, b)
		return out
	}
	// A file that was there already: it may have older ones that the death of
	// an earlier process left as they were.
	pack := first && l.size > 0
	if s.Format == FormatJSON {
		out = l.appendObjects(s, src, b, out, now)
	} else {
		out = l.append(s, src, b, out, now)
	}
	switch src {
	case l.mid:
		k.ring.setOpenAt(src, l.lineStart)
	case l.held.src:
		k.ring.setOpenAt(src, l.end())
	}
	if s.Compress && (pack || l.rot.Load() != rot) {
		l.vol.pack.put(k)
	}
	return out
}

// prepare has the file that s names opened, in the folder that it names. The
// caller has the turn.
func (k *sink) prepare(s *Settings, now time.Time) bool {
	if v := k.vol.Load(); v != k.file.vol {
		k.file.vol.forget(&k.file)
		k.file.vol = v
	}
	return k.file.prepare(s, now)
}

// sayAnyway tells what was lost to whoever hears notices, where no file could be
// told. The caller has the turn.
func (k *sink) sayAnyway() {
	n := k.file.lost
	if k.file.torn != nil {
		n++
	}
	if s := k.set.Load(); n > 0 && s.ToFile {
		k.file.vol.notices.add(lostNotice(s, n, lostText(n, k.file.reason)))
		k.file.lost, k.file.torn = 0, nil
	}
}

// skip publishes what cannot be written because the disk is stuck.
func (k *sink) skip(src any, b []byte, now time.Time) {
	k.ring.publish(src, b, now.UnixNano(), place{})
	if k.set.Load().ToFile {
		k.skipped.Add(uint64(bytes.Count(b, []byte{'\n'})))
		k.skippedTorn.Store(b[len(b)-1] != '\n')
	}
}

// recount hands to file what was skipped meanwhile. The caller has the turn.
func (k *sink) recount() {
	n := k.skipped.Swap(0)
	torn := k.skippedTorn.Swap(false)
	if n == 0 && !torn {
		return
	}
	k.file.lost += n
	k.file.reason = errStuck
	// What comes now does not continue what stands there.
	k.file.mid, k.file.held = nil, held{}
	if torn {
		k.file.lost++
	}
}

// end finishes the line of src at the end of its pipe. The caller has the turn.
func (k *sink) end(src any, now time.Time) {
	k.ring.end(src)
	k.recount()
	l := &k.file
	if l.torn == src {
		l.lost, l.torn = l.lost+1, nil
	}
	if l.mid == src && l.f != nil {
		l.mid = nil
		// On failure the newline is written when the file is next.
		l.write(k.set.Load(), []byte{'\n'}, now)
	}
	l.writeHeld(k.set.Load(), src, now)
	if l.lost > 0 {
		k.say(now)
	}
}

// say tries to tell what was lost although no line came. The caller has the turn.
func (k *sink) say(now time.Time) {
	s := k.set.Load()
	k.recount()
	if k.file.lost == 0 && k.file.torn == nil || !s.ToFile || !k.prepare(s, now) {
		return
	}
	k.file.settle(s, now)
}
