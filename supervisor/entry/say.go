package entry

import "golang.org/x/sys/unix"

// say writes a line for people, if stderr takes it at once: a terminal held by
// Ctrl-S or a pipe that nobody reads must not stop the reaping. write(2) itself
// is used because os.File raises SIGPIPE for a broken stderr.
func (e *entry) say(line string) {
	b := append([]byte("nines-init: "), line...)
	b = append(b, '\n')
	ready := []unix.PollFd{{Fd: int32(e.Stderr), Events: unix.POLLOUT}}
	// A pipe that is ready takes 4096 bytes at least: cut, a line cannot block.
	// Without stderr there is nowhere to say that.
	if n, err := unix.Poll(ready, 0); err == nil && n == 1 {
		_, _ = unix.Write(e.Stderr, b[:min(len(b), 4096)])
	}
}

// note is say for who asked for more (-v).
func (e *entry) note(line string) {
	if e.Verbose {
		e.say(line)
	}
}
