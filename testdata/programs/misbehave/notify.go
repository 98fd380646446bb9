package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// notifier is who sends to a notify socket, in whatever order it is told to.
type notifier struct{ to string }

func notify(steps []string) {
	n := &notifier{to: os.Getenv("NOTIFY_SOCKET")}
	say()
	for _, step := range steps {
		word, rest, _ := strings.Cut(step, ":")
		n.step(step, word, rest)
	}
	forever()
}

func (n *notifier) step(step, word, rest string) {
	first, second, _ := strings.Cut(rest, ":")
	switch word {
	case "to":
		n.to = rest
	case "wait":
		await(rest)
	case "child": // it has ended, and was reaped, before anybody can have looked
		cmd := exec.Command(os.Args[0], ".say", rest)
		cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+n.to)
		check(cmd.Run())
	case "store":
		fd, err := unix.MemfdCreate(first, unix.MFD_CLOEXEC)
		check(err)
		_, err = unix.Write(fd, []byte(second))
		check(err)
		n.send("FDSTORE=1|FDNAME="+first, fd)
	case "store-pipe": // whose other end is closed at once: it hangs up
		var p [2]int
		check(unix.Pipe2(p[:], unix.O_CLOEXEC))
		n.send("FDSTORE=1|FDNAME="+rest, p[0])
		check(unix.Close(p[1]))
	case "stored": // what was given, to a file
		check(os.WriteFile(rest+".new", []byte(given()), 0o666))
		check(os.Rename(rest+".new", rest))
	case "barrier":
		var p [2]int
		check(unix.Pipe2(p[:], unix.O_CLOEXEC))
		n.send("BARRIER=1", p[1])
		check(unix.Close(p[1]))
		b := make([]byte, 1)
		if k, err := unix.Read(p[0], b); k != 0 || err != nil {
			fail("the barrier was written to")
		}
		fmt.Println("barrier passed")
	case "main": // a child stands for it from here on
		n.send("MAINPID=" + strconv.Itoa(child(false, os.Environ(), ".sleep")))
	case "fd":
		_, err := unix.Write(integer(first), []byte(second))
		check(err)
	case "close":
		check(unix.Close(integer(rest)))
	case "beat":
		every, err := time.ParseDuration(rest)
		check(err)
		go func() {
			for {
				n.send("WATCHDOG=1")
				time.Sleep(every)
			}
		}()
	case "reload": // on SIGHUP: begins, waits for the file, ends
		hup := make(chan os.Signal, 1)
		signal.Notify(hup, syscall.SIGHUP)
		go func() {
			for range hup {
				n.send("RELOADING=1|MONOTONIC_USEC=" + strconv.FormatInt(monotonic(), 10) + "|STATUS=reloading")
				await(rest)
				n.send("READY=1|STATUS=reloaded")
			}
		}()
	case "term": // on SIGTERM: these fields, then it waits for a file, then ends
		term := make(chan os.Signal, 1)
		signal.Notify(term, syscall.SIGTERM)
		go func() {
			<-term
			n.send(first)
			await(second)
			os.Exit(0)
		}()
	case "flood":
		for range integer(first) {
			n.send(second)
		}
	case "exit":
		os.Exit(integer(rest))
	default:
		n.send(step)
	}
}

// send sends a datagram; "|" stands for a newline.
func (n *notifier) send(text string, fds ...int) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	check(err)
	defer unix.Close(fd)
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	check(unix.Sendmsg(fd, []byte(strings.ReplaceAll(text, "|", "\n")), oob, &unix.SockaddrUnix{Name: n.to}, 0))
}

// given is the descriptors that sd_listen_fds(3) finds, by name, and what is in
// them.
func given() string {
	out := ""
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return "nothing\n"
	}
	for i, name := range strings.Split(os.Getenv("LISTEN_FDNAMES"), ":") {
		b := make([]byte, 100)
		k, err := unix.Pread(3+i, b, 0)
		if err != nil {
			k = copy(b, err.Error())
		}
		out += name + " " + string(b[:k]) + "\n"
	}
	return out
}

func await(file string) {
	for {
		if _, err := os.Stat(file); err == nil {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func monotonic() int64 {
	var ts unix.Timespec
	check(unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts))
	return ts.Nano() / 1000
}
