package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"nines/supervisor/notify"
)

// The fake nines and nines-log are this test's own binary under those names.
// They do what the test says, over a control socket, one line a command:
//
//	send TEXT | sendpipes TEXT N | sendbig N | close | catch | write TEXT | drop
//	read | run SCRIPT | kill PID SIGNAL | reexec PATH | fds | exit CODE
//
// and say what they see: hello, got, signal, eof, done.
type fakeChild struct {
	control net.Conn
	mu      sync.Mutex
	conn    *notify.Conn
	raw     int        // a copy of conn's descriptor
	pipes   []*os.File // received, or write ends of what was sent
}

func fakeMain(role string) int {
	control, err := net.Dial("unix", os.Getenv("NINES_TEST_CONTROL"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "fake", role, err)
		return 99
	}
	f := &fakeChild{control: control}
	fd, err := strconv.Atoi(os.Getenv("NINES_KEEPER_FD"))
	if err == nil {
		f.raw, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	}
	if err == nil {
		f.conn, err = notify.NewConn(fd)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fake", role, err)
		return 98
	}
	stdin, err := os.Readlink("/proc/self/fd/0")
	if err != nil {
		stdin = err.Error()
	}
	group, err := unix.Getpgid(0)
	if err != nil {
		group = -1
	}
	f.say("hello %s %s %d %d %q %q %q %q", role, os.Getenv("NINES_GENERATION"), os.Getpid(), group,
		stdin, os.Getenv("NINES_RUNTIME_DIR"), os.Getenv("NINES_KEEPER_PID")+os.Getenv("NOTIFY_SOCKET"), strings.Join(os.Args[1:], " "))
	go f.listen()
	lines := bufio.NewScanner(control)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		verb, rest, _ := strings.Cut(lines.Text(), " ")
		if verb == "exit" {
			code, err := strconv.Atoi(rest)
			if err != nil {
				return 97
			}
			return code
		}
		if err := f.do(verb, rest); err != nil {
			f.say("done %q", err.Error())
		} else {
			f.say("done \"\"")
		}
	}
	return 96 // the test is gone
}

func (f *fakeChild) say(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := fmt.Fprintf(f.control, format+"\n", args...); err != nil {
		os.Exit(95)
	}
}

func (f *fakeChild) listen() {
	buf := make([]byte, notify.MaxMessage)
	for {
		n, fds, err := f.conn.Receive(buf)
		if err == io.EOF {
			f.say("eof")
			return
		}
		if err != nil {
			f.say("eof %v", err)
			return
		}
		f.mu.Lock()
		for _, fd := range fds {
			f.pipes = append(f.pipes, os.NewFile(uintptr(fd), "pipe"))
		}
		f.mu.Unlock()
		f.say("got %d %q", len(fds), buf[:n])
	}
}

func (f *fakeChild) do(verb, rest string) error {
	var text string
	if strings.HasPrefix(rest, `"`) {
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return err
		}
		if text, err = strconv.Unquote(quoted); err != nil {
			return err
		}
		rest = strings.TrimPrefix(rest[len(quoted):], " ")
	}
	switch verb {
	case "send":
		return f.conn.Send([]byte(text), nil)
	case "sendpipes":
		n, err := strconv.Atoi(rest)
		if err != nil {
			return err
		}
		return f.sendPipes(text, n)
	case "sendbig":
		n, err := strconv.Atoi(rest)
		if err != nil {
			return err
		}
		return unix.Sendmsg(f.raw, make([]byte, n), nil, nil, 0)
	case "close":
		unix.Close(f.raw)
		return f.conn.Close()
	case "catch":
		for _, sig := range []syscall.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2} {
			c := make(chan os.Signal, 1) // so that one kind cannot crowd out another
			signal.Notify(c, sig)
			go func() {
				for range c {
					f.say("signal %s", unix.SignalName(sig))
				}
			}()
		}
		return nil
	case "reexec":
		fd, err := unix.Open(text, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return f.conn.Send(notify.Message{{Key: notify.KeyReexec, Value: text}}.Append(nil), []int{fd})
	case "write":
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, p := range f.pipes {
			if _, err := p.WriteString(text); err != nil {
				return err
			}
		}
		return nil
	case "drop":
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, p := range f.pipes {
			if err := p.Close(); err != nil {
				return err
			}
		}
		f.pipes = nil
		return nil
	case "read":
		f.mu.Lock()
		pipes := f.pipes
		f.mu.Unlock()
		for _, p := range pipes {
			b, err := io.ReadAll(p)
			if err != nil {
				return err
			}
			f.say("read %q", b)
		}
		return nil
	case "run":
		out, err := exec.Command("sh", "-c", text).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	case "kill":
		pid, sig, _ := strings.Cut(rest, " ")
		n, err := strconv.Atoi(pid)
		if err != nil {
			return err
		}
		return unix.Kill(n, unix.SignalNum(sig))
	case "fds":
		names, err := filepath.Glob("/proc/self/fd/*")
		if err != nil {
			return err
		}
		var links []string
		for _, name := range names {
			if link, err := os.Readlink(name); err == nil {
				links = append(links, link)
			}
		}
		f.say("fds %q", strings.Join(links, " "))
		return nil
	}
	return fmt.Errorf("no command %q", verb)
}

// sendPipes sends the read ends of n new pipes and keeps the write ends.
func (f *fakeChild) sendPipes(text string, n int) error {
	var fds []int
	for range n {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		defer r.Close()
		fds = append(fds, int(r.Fd()))
		f.mu.Lock()
		f.pipes = append(f.pipes, w)
		f.mu.Unlock()
	}
	if n <= notify.MaxFDs {
		return f.conn.Send([]byte(text), fds)
	}
	return unix.Sendmsg(f.raw, []byte(text), unix.UnixRights(fds...), nil, 0)
}
