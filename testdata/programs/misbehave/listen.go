package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// listen serves on inherited sockets, found as a service has to: by
// sd_listen_fds(3), in a process with no other descriptor.
func listen(args []string) {
	if pid := os.Getenv("LISTEN_PID"); integer(pid) != os.Getpid() {
		fail("LISTEN_PID is " + pid)
	}
	names := os.Getenv("LISTEN_FDNAMES")
	list := strings.Split(names, ":")
	drains, while := arg(args, 0, "") == "drain", arg(args, 0, "") == "while"
	term := make(chan os.Signal, 1)
	if drains || while {
		signal.Notify(term, syscall.SIGTERM) // before the first is accepted
	}
	var gone <-chan struct{}
	if while {
		gone = vanished(arg(args, 1, ""))
	}
	var answers sync.WaitGroup
	var listeners []net.Listener
	if n := integer(os.Getenv("LISTEN_FDS")); n != len(list) {
		fail("LISTEN_FDS and LISTEN_FDNAMES do not agree")
	}
	for i, name := range list {
		file := os.NewFile(uintptr(3+i), name)
		l, err := net.FileListener(file)
		check(err)
		listeners = append(listeners, l)
		answers.Add(1)
		go func() {
			defer answers.Done()
			defer file.Close() // l has a copy; a test looks at this one
			for {
				c, err := l.Accept()
				if errors.Is(err, net.ErrClosed) {
					return
				}
				check(err)
				answers.Go(func() {
					answer(c, fmt.Sprintf("socket %s pid %d instance %s names %s fd %s",
						name, os.Getpid(), os.Getenv("NINES_INSTANCE_ID"), names, os.Getenv("NINES_FD_"+name)))
				})
			}
		}()
	}
	say()
	switch {
	case drains:
		bloat(args[1:])
	case !while:
		forever()
	}
	code := 0
	select {
	case <-term:
	case <-gone:
		code = integer(arg(args, 2, "1"))
	}
	for _, l := range listeners {
		check(l.Close())
	}
	answers.Wait() // whoever was accepted is answered; the others wait in the socket
	os.Exit(code)
}

// vanished is closed when the file is not there, as it is at once where it never was.
func vanished(file string) <-chan struct{} {
	gone := make(chan struct{})
	look := func() bool { _, err := os.Stat(file); return err == nil }
	if !look() {
		close(gone)
		return gone
	}
	go func() {
		for look() {
			time.Sleep(50 * time.Millisecond)
		}
		close(gone)
	}()
	return gone
}

func answer(c net.Conn, text string) {
	defer c.Close()
	// A client that goes away is not our affair.
	if _, err := bufio.NewReader(c).ReadString('\n'); err == nil {
		_, _ = fmt.Fprintln(c, text)
	}
}

func ask(args []string) {
	network, address := arg(args, 0, ""), arg(args, 1, "")
	if arg(args, 2, "1") != "until" {
		for range integer(arg(args, 2, "1")) {
			text, err := question(network, address)
			check(err)
			fmt.Print(text)
		}
		return
	}
	asked, lost, pids := 0, 0, map[string]bool{}
	var took []time.Duration
	for {
		began := time.Now()
		text, err := question(network, address)
		took = append(took, time.Since(began))
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "dial" {
			fmt.Println("after", asked, "questions:", err)
			os.Exit(1)
		}
		asked++
		if err != nil {
			lost++
		} else {
			pids[strings.Fields(text)[3]] = true
		}
		if asked == 1 {
			say()
		}
		if _, err := os.Stat(arg(args, 3, "")); err == nil {
			fmt.Println("asked", asked, "lost", lost, "pids", len(pids))
			slices.Sort(took)
			fmt.Println("half within", took[len(took)/2], "99 of 100 within", took[len(took)*99/100], "all within", took[len(took)-1])
			return
		}
		time.Sleep(2 * time.Millisecond) // leaves the machine to the others
	}
}

// question connects, which succeeds whenever there is a socket, and asks.
func question(network, address string) (string, error) {
	c, err := net.DialTimeout(network, address, 20*time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintln(c, "?"); err != nil {
		return "", err
	}
	text, err := bufio.NewReader(c).ReadString('\n')
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return text, err
}
