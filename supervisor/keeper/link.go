package keeper

import (
	"sync/atomic"

	"nines/supervisor/notify"
)

// link is the keeper's end of one generation's socket. Two goroutines park in
// the netpoller and only say that there is something to do; the loop alone
// reads and writes, so it owns every buffer and can drain a dead child's
// messages before it goes on.
type link struct {
	conn     *notify.Conn
	readable atomic.Bool
	writable atomic.Bool
	rearm    chan struct{} // the loop has read all there was
	await    chan struct{} // the loop found no room to write
	waiting  bool          // for room; the loop's
	eof      bool          // the peer hung up; the loop's
}

// newLink takes over fd. wake wakes the loop; it has capacity 1.
func newLink(fd int, wake chan<- struct{}) (*link, error) {
	conn, err := notify.NewConn(fd)
	if err != nil {
		return nil, err
	}
	l := &link{conn: conn, rearm: make(chan struct{}, 1), await: make(chan struct{}, 1)}
	go watch(conn.WaitReadable, wake, &l.readable, l.rearm)
	go func() {
		if _, ok := <-l.await; ok {
			watch(conn.WaitWritable, wake, &l.writable, l.await)
		}
	}()
	return l, nil
}

// watch says by flag, and by a wake-up of the loop, that wait has returned, and
// waits again when next says so; until wait fails or next is closed.
func watch(wait func() error, wake chan<- struct{}, flag *atomic.Bool, next <-chan struct{}) {
	for {
		if wait() != nil {
			return // closed
		}
		flag.Store(true)
		select {
		case wake <- struct{}{}:
		default: // the loop has a wake-up to come already
		}
		if _, ok := <-next; !ok {
			return
		}
	}
}

// rewatch asks to be woken for the next message.
func (l *link) rewatch() {
	select {
	case l.rearm <- struct{}{}:
	default:
	}
}

// awaitRoom asks to be woken when there is room to write.
func (l *link) awaitRoom() {
	l.waiting = true
	select {
	case l.await <- struct{}{}:
	default:
	}
}

// close ends the link and its goroutines.
func (l *link) close() {
	// It can only say that it was closed before; it is closed here alone.
	_ = l.conn.Close()
	close(l.rearm)
	close(l.await)
}
