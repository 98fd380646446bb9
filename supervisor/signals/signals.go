// Package signals keeps the signals that ask something of an init from getting
// lost, and from ending it, from the first instruction of a program to the last
// and from that program to the next that the same process executes.
//
// The kernel is the queue. Held are blocked in every thread: by nines_start
// (package entry) before Go's runtime begins, and for good, for the runtime's
// threads inherit that. So a signal that comes is pending until it is read from a
// signalfd(2), and what is pending survives execve(2): whatever was not read by one
// program is there for the next. None is lost but as POSIX has it: of several of a
// kind that are pending at once one is delivered, but for the real-time ones. What is
// sent to one thread (tgkill(2)), and not to the process, is not seen: nobody asks an
// init for something that way.
//
// That holds only for a program that begins at nines_start. What is in this package
// must not be used in another.
package signals

import (
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Held are the signals, bit N-1 for signal N: HUP, INT, QUIT, USR1, USR2, TERM, PWR,
// and the real-time ones that nobody's runtime uses. The same number stands in
// nines_start.
const Held uint64 = 0xfffffffc20004a07

const (
	last = 64
	// infoSize is that of struct signalfd_siginfo, which begins with the signal.
	infoSize = 128
)

func has(set uint64, sig unix.Signal) bool { return set>>(sig-1)&1 != 0 }

// Set is Held as system calls want it.
func Set() unix.Sigset_t { return sigset(Held) }

func sigset(of uint64) unix.Sigset_t {
	var set unix.Sigset_t
	const bits = unix.Signal(unsafe.Sizeof(set.Val[0])) * 8
	for sig := range unix.Signal(last) {
		if has(of, sig+1) {
			set.Val[sig/bits] |= 1 << (sig % bits)
		}
	}
	return set
}

// wanted are those of Held that are not ignored: one that our parent has us ignore
// (nohup) stays ignored.
func wanted() uint64 {
	set := Held
	for sig := unix.Signal(1); sig <= last; sig++ {
		if has(set, sig) && signal.Ignored(sig) {
			set &^= 1 << (sig - 1)
		}
	}
	return set
}

// Queue is where held signals are read.
type Queue struct {
	file *os.File
	raw  syscall.RawConn
}

// Open opens the queue. One process has use for one at a time.
func Open() (*Queue, error) {
	set := sigset(wanted())
	fd, err := unix.Signalfd(-1, &set, unix.SFD_NONBLOCK|unix.SFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("signalfd", err)
	}
	file := os.NewFile(uintptr(fd), "signals")
	raw, err := file.SyscallConn()
	if err != nil {
		_ = file.Close() // nothing was done with it
		return nil, err
	}
	return &Queue{file, raw}, nil
}

// Wait returns when there may be something to take, or an error after Close.
func (q *Queue) Wait() error {
	return q.raw.Read(func(fd uintptr) bool {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		for {
			n, err := unix.Poll(p, 0)
			if err != unix.EINTR {
				return err != nil || n > 0 // what is wrong, Take finds out
			}
		}
	})
}

// Take takes one signal that is pending; false: there is none. It does not wait.
func (q *Queue) Take() (sig unix.Signal, ok bool) {
	var info [infoSize]byte
	// Not Read, which waits for whoever is in Wait.
	err := q.raw.Control(func(fd uintptr) {
		for {
			n, err := unix.Read(int(fd), info[:])
			if err == unix.EINTR {
				continue
			}
			ok = err == nil && n == infoSize
			return
		}
	})
	return unix.Signal(*(*uint32)(unsafe.Pointer(&info))), ok && err == nil
}

// Close ends a Wait too. What is pending stays so.
func (q *Queue) Close() {
	// It can only say that it was closed before.
	_ = q.file.Close()
}

// Fork carries out fork, which starts a process that is to begin with mask: a child
// has that of the thread that forks. So for some microseconds this thread takes
// signals. What it, or another, takes is sent to ourselves again, to be pending as
// before.
func Fork(mask *unix.Sigset_t, fork func()) {
	var taken [last + 1]chan os.Signal
	set := wanted()
	for sig := unix.Signal(1); sig <= last; sig++ {
		if has(set, sig) {
			// One of each kind, as the kernel has it.
			taken[sig] = make(chan os.Signal, 1)
			signal.Notify(taken[sig], sig)
		}
	}
	defer func() {
		for sig, c := range taken {
			if c == nil {
				continue
			}
			signal.Stop(c) // blocked again in the thread that handles signals
			select {
			case <-c:
				// It cannot fail: we may always signal ourselves.
				_ = unix.Kill(unix.Getpid(), unix.Signal(sig))
			default:
			}
		}
	}()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before unix.Sigset_t
	// A mask can always be set.
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, mask, &before)
	defer func() { _ = unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil) }()
	fork()
}
