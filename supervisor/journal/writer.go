package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime/debug"
	"syscall"
	"time"

	bolterrors "go.etcd.io/bbolt/errors"

	"nines/supervisor/policy"
)

// ErrClosed says that the journal has ended.
var ErrClosed = errors.New("the journal has ended")

// request is what somebody waits for.
type request struct {
	changes []Change
	upto    uint64 // the entries that come before it
	done    func(error)
}

// writer is the state of the one goroutine that writes.
type writer struct {
	*Journal
	since   time.Time     // when what cannot be written began; zero: it can be
	pause   time.Duration // until it is tried again
	lost    uint64        // entries that memory lost before they were written
	wroteAt time.Time     // the last transaction
	sparse  time.Time     // when it was last looked whether the file is
	large   bool          // that it stays so was said
}

// write is the writer. It closes opened when the file was opened for the first
// time, or could not be.
func (j *Journal) write(opened chan<- struct{}) {
	defer close(j.ended)
	debug.SetPanicOnFault(true)
	w := &writer{Journal: j}
	w.open()
	close(opened)
	w.compact()
	retry := time.NewTimer(time.Hour)
	defer retry.Stop()
	for {
		var again <-chan time.Time
		wake := j.wake
		if !w.since.IsZero() {
			retry.Reset(w.pause)
			again, wake = retry.C, nil // what comes does not hurry a disk that failed
		}
		select {
		case <-wake:
			w.gather()
		case <-j.flush:
		case <-again:
			w.pause = min(2*w.pause, retryMax)
		case <-j.stop:
			w.drain()
			w.end()
			return
		}
		w.drain()
		w.compact()
	}
}

// compact makes the file smaller, now and then.
func (w *writer) compact() {
	if !w.since.IsZero() || !w.store.writable || time.Since(w.sparse) < w.store.cfg.every {
		return
	}
	w.sparse = time.Now()
	switch err := w.store.compact(); {
	case err == nil:
		w.large = false
	case !w.large && !errors.Is(err, errGone): // the next write says that
		// Nothing is lost: the file is as large as it was, and this is tried again.
		w.large = true
		w.say(KindJournalFailed, fmt.Sprintf("cannot make %s smaller, most of which is free: %s; it is tried again each %v, and events are written as ever", w.store.path, explain(err), w.store.cfg.every))
	}
	if !w.store.writable {
		w.open() // it says why it cannot
	}
}

// gather waits for company, as long as nobody waits for the disk.
func (w *writer) gather() {
	t := time.NewTimer(max(gatherFirst, time.Until(w.wroteAt.Add(gatherTime))))
	defer t.Stop()
	select {
	case <-t.C:
	case <-w.flush:
	case <-w.stop:
		signal(w.wake) // seen again
	}
}

// open opens the file, and says what came of it.
func (w *writer) open() bool {
	set, err := w.store.open()
	w.mu.Lock()
	first := !w.numbered
	if w.store.db == nil || set != nil { // nobody can say where numbers were
		w.numberByClock()
	} else {
		gap := w.limit
		if w.store.clean {
			gap = 0
		}
		w.numberAfter(w.store.last + gap)
	}
	ahead := err == nil && w.store.last > w.last
	if err == nil && w.store.last < w.written {
		// A new file, or an older one: it gets all that memory has.
		w.written = max(w.store.last, w.first()-1)
	}
	w.mu.Unlock()
	if ahead {
		// The clock that numbered what we have stood before that of the file.
		err = fmt.Errorf("its events are numbered beyond %d, where this supervisor began: move it away by hand", w.begun)
		w.store.drop()
	}
	if set != nil {
		w.say(KindJournalReplaced, fmt.Sprintf("cannot use %s: %s: it was set aside as %s with the events before this one, and a new one begun", w.store.path, set.why, set.path))
	}
	if first && set == nil && w.store.db != nil && !w.store.clean {
		w.say(KindJournalRecovered, fmt.Sprintf("the supervisor before this one did not end in order: events of its last %v may be missing after number %d; numbers go on after %d",
			gatherTime, w.store.last, w.Begun()))
	}
	if err != nil {
		w.failed(err)
	}
	return err == nil
}

func (w *writer) say(kind policy.Kind, text string) {
	w.Append(Entry{Time: time.Now(), Kind: kind, Text: text})
}

// drain writes all that there is.
func (w *writer) drain() {
	for {
		entries, due := w.next()
		if len(entries)+len(due) == 0 && w.since.IsZero() {
			return
		}
		if !w.store.writable {
			if !w.open() {
				return
			}
			continue // what is to be written depends on what the file has
		}
		var changes []Change
		for i := range due {
			changes = append(changes, due[i].changes...)
		}
		err := w.store.update(entries, changes, time.Now())
		switch {
		case errors.Is(err, errGone):
			w.store.drop()
			w.say(KindJournalReplaced, "somebody removed or replaced "+w.store.path+" while it was in use: a new one is begun, with what memory still has")
			continue // it opens; should that fail, it says so
		case err != nil:
			w.failed(err)
			return
		}
		w.wrote(entries, due)
	}
}

// next is what is to be written next: entries, and the requests which have no
// entry before them but these.
func (w *writer) next() ([]Entry, []request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	from := w.written + 1
	if first := w.first(); from < first {
		w.lost += first - from
		from = first
		w.written = first - 1
	}
	entries := w.copyFrom(nil, from, writeBatch)
	n, upto := 0, w.written+uint64(len(entries))
	for n < len(w.requests) && w.requests[n].upto <= upto {
		n++
	}
	return entries, w.requests[:n:n]
}

// wrote: all of that is on disk.
func (w *writer) wrote(entries []Entry, due []request) {
	w.wroteAt = time.Now()
	w.mu.Lock()
	w.written += uint64(len(entries))
	w.requests = w.requests[len(due):]
	w.trouble = ""
	w.mu.Unlock()
	if !w.since.IsZero() || w.lost > 0 {
		w.recovered()
	}
	for i := range due {
		due[i].done(nil)
	}
}

// recovered says that all is well again, and what is missing.
func (w *writer) recovered() {
	text := "events are written to " + w.store.path + " again, also those that had to wait"
	switch {
	case w.lost > 0 && w.since.IsZero():
		text = fmt.Sprintf("%d events are not in %s: they came faster than the disk takes them", w.lost, w.store.path)
	case w.lost > 0:
		text = fmt.Sprintf("events are written to %s again; %d of those since %s are not there: there were more than memory holds",
			w.store.path, w.lost, w.since.UTC().Format(time.RFC3339))
	}
	w.since, w.pause, w.lost = time.Time{}, 0, 0
	w.say(KindJournalRecovered, text)
}

// failed: nothing can be written now. Whoever waits is told, and everybody once.
func (w *writer) failed(err error) {
	var d *damage
	if errors.As(err, &d) {
		w.store.drop() // it is looked at anew when it is opened
	}
	text := "cannot write events to " + w.store.path + ": " + explain(err)
	err = errors.New(text)
	w.mu.Lock()
	waiting := w.requests
	w.requests = nil
	w.trouble = text
	w.mu.Unlock()
	if w.since.IsZero() {
		w.since, w.pause = time.Now(), retryFirst
		w.say(KindJournalFailed, fmt.Sprintf("%s: the newest %d stay in memory, and are written when they can be", text, w.limit))
	}
	for i := range waiting {
		waiting[i].done(err)
	}
}

// explain words why, with what to do.
func explain(err error) string {
	var errno syscall.Errno
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return "another supervisor uses it: give this one a --state-dir of its own"
	case errors.As(err, &errno):
	default:
		return err.Error()
	}
	var pe *fs.PathError
	where := ""
	if errors.As(err, &pe) {
		where = pe.Op + " " + pe.Path + ": "
	}
	todo := ""
	switch {
	case errno == syscall.ENOSPC, errno == syscall.EDQUOT:
		todo = ": free some space"
	case errno == syscall.EROFS:
		todo = ": mount it writable, or name another folder by --state-dir"
	case errors.Is(errno, fs.ErrPermission):
		todo = ": let this user write there, or name another folder by --state-dir"
	}
	return where + errno.Error() + todo
}

// end closes the file.
func (w *writer) end() {
	w.mu.Lock()
	w.closed = true
	waiting := w.requests
	w.requests = nil
	sound := w.written == w.last
	w.mu.Unlock()
	for i := range waiting {
		waiting[i].done(ErrClosed)
	}
	// Where it fails the next one leaves a gap in the numbers.
	_ = w.store.close(sound)
}

// Close writes what there is, for as long as ctx lasts, and ends. Entries may be
// appended afterwards; they stay in memory. An error says what is not on disk.
func (j *Journal) Close(ctx context.Context) error {
	if j.store == nil {
		return nil
	}
	close(j.stop)
	select {
	case <-j.ended:
	case <-ctx.Done():
		return fmt.Errorf("cannot write the last events to %s: the disk takes too long", j.store.path)
	}
	if why := j.Trouble(); why != "" {
		return errors.New(why)
	}
	return nil
}
