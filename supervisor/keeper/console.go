package keeper

import (
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	consoleQueue = 64                     // lines
	consoleFlush = 500 * time.Millisecond // at the end, for a slow reader
)

// console writes lines for people from a goroutine of its own: a terminal held
// by Ctrl-S or a pipe that nobody reads must not stop the reaping. Lines beyond
// the queue are dropped and counted.
type console struct {
	verbose bool
	lines   chan string
	marks   chan chan struct{} // closed when all before it is written
	done    chan struct{}
	dropped atomic.Int64
}

func newConsole(fd int, verbose bool) *console {
	c := &console{verbose: verbose, lines: make(chan string, consoleQueue), marks: make(chan chan struct{}), done: make(chan struct{})}
	go c.run(fd)
	return c
}

func (c *console) run(fd int) {
	defer close(c.done)
	for {
		select {
		case line, open := <-c.lines:
			if !open {
				return
			}
			c.write(fd, line)
		case written := <-c.marks:
			for more := true; more; {
				select {
				case line := <-c.lines:
					c.write(fd, line)
				default:
					more = false
				}
			}
			close(written)
		}
	}
}

func (c *console) write(fd int, line string) {
	if n := c.dropped.Swap(0); n > 0 {
		WriteLine(fd, strconv.FormatInt(n, 10)+" messages were lost: stderr did not take them")
	}
	WriteLine(fd, line)
}

// say queues one line.
func (c *console) say(line string) {
	select {
	case c.lines <- line:
	default:
		c.dropped.Add(1)
	}
}

// note is say for who asked for more (-v).
func (c *console) note(line string) {
	if c.verbose {
		c.say(line)
	}
}

// close waits, within bounds, until what was said is written.
func (c *console) close() {
	close(c.lines)
	select {
	case <-c.done:
	case <-time.After(consoleFlush):
	}
}

// WriteLine writes "nines-init: line" to fd. It may block. An error is dropped:
// there is nowhere else to say it. write(2) itself is used because os.File
// raises SIGPIPE for a broken stderr, which would be the end of PID 1.
func WriteLine(fd int, line string) {
	b := append([]byte("nines-init: "), line...)
	b = append(b, '\n')
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		switch err {
		case nil:
			b = b[n:]
		case unix.EINTR:
		case unix.EAGAIN:
			// Somebody who shares the terminal made it nonblocking.
			if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, -1); err != nil && err != unix.EINTR {
				return
			}
		default:
			return
		}
	}
}

// flush waits until what was said so far is written; false: not in time.
func (c *console) flush(patience time.Duration) bool {
	written := make(chan struct{})
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case c.marks <- written:
	case <-late.C:
		return false
	}
	select {
	case <-written:
		return true
	case <-late.C:
		return false
	}
}
