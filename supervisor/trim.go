package supervisor

import (
	"runtime/debug"
	"time"
)

// A start of many services, and a specification of many, leave behind more garbage
// than what runs on needs. Go's runtime gives it back over minutes, waking up for
// that; here it is done once, when it is quiet again.

const (
	// trimWork is how much must have been done, in services read and processes
	// started, since it was done last: a collection costs more than it is worth for
	// less.
	trimWork = 256
	// trimPause is how long after the last of it.
	trimPause = time.Second
)

// worked counts what was done; the loop's.
func (s *Supervisor) worked(n int) {
	if s.work += n; s.work < trimWork {
		return
	}
	if s.trim == nil {
		s.trim = time.AfterFunc(trimPause, func() { s.box.put(s.trimNow) })
	} else {
		s.trim.Reset(trimPause)
	}
}

func (s *Supervisor) trimNow() {
	if s.inFlight > 0 {
		s.trim.Reset(trimPause)
		return
	}
	s.work = 0
	go debug.FreeOSMemory() // it collects first: nobody waits for that
}
