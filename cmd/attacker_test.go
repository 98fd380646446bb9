package cmd_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// asAttacker makes the test binary attack the control socket that it names,
// until it is killed.
const asAttacker = "NINES_TEST_ATTACK"

// attacks are what a hostile caller does with a connection, again and again.
// held: the connection is kept for as long as the supervisor lets it.
func attacks() []struct {
	name string
	held bool
	do   func(c net.Conn) error
} {
	say := func(text string) func(net.Conn) error {
		return func(c net.Conn) error { _, err := c.Write([]byte(text)); return err }
	}
	const head = " HTTP/1.1\r\nHost: x\r\n"
	return []struct {
		name string
		held bool
		do   func(c net.Conn) error
	}{
		{"says nothing", true, say("")},
		{"half a header", true, say("GET /v1/status HTTP/1.1\r\nHo")},
		{"a header, byte by byte", true, func(c net.Conn) error {
			for _, b := range []byte("GET /v1/status HTTP/1.1\r\nX-Slow: " + strings.Repeat("a", 1000)) {
				if _, err := c.Write([]byte{b}); err != nil {
					return err
				}
				<-time.After(20 * time.Millisecond)
			}
			return nil
		}},
		{"half a body", true, say("POST /v1/services/web/stop" + head + "Content-Length: 100\r\n\r\n{")},
		{"a body where none belongs", true, say("GET /v1/status" + head + "Content-Length: 100\r\n\r\n")},
		{"a huge body", false, say("POST /v1/services/web/stop" + head + "Content-Length: 1000000000\r\n\r\n" + strings.Repeat("x", 1<<20))},
		{"a huge header", false, say("GET /v1/status" + head + "X: " + strings.Repeat("x", 1<<20))},
		{"follows and does not read", true, say("GET /v1/events?follow=1" + head + "\r\n")},
		{"follows logs and does not read", true, say("GET /v1/logs?follow=1&lines=-1" + head + "\r\n")},
		{"asks much and does not read", true, say(strings.Repeat("GET /v1/status"+head+"\r\n", 1000))},
		{"asks much", false, func(c net.Conn) error {
			b := make([]byte, 64<<10)
			for {
				if err := say("GET /v1/events" + head + "\r\n")(c); err != nil {
					return err
				}
				if _, err := c.Read(b); err != nil {
					return err
				}
			}
		}},
		{"HTTP/2", false, say("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + strings.Repeat("\x00", 1000))},
		{"garbage", false, func(c net.Conn) error {
			b := make([]byte, rand.IntN(5000))
			for i := range b {
				b[i] = byte(rand.IntN(256))
			}
			_, err := c.Write(b)
			return err
		}},
		{"half-closed", true, func(c net.Conn) error {
			return errors.Join(say("GET /v1/events?follow=1"+head+"\r\n")(c), c.(*net.UnixConn).CloseWrite())
		}},
		{"comes and goes", false, say("")},
	}
}

// beAttacker attacks with several connections at a time for each of attacks;
// "SOCKET MOST": it holds at most MOST connections.
func beAttacker(v string) int {
	var socket string
	var most int
	if _, err := fmt.Sscan(v, &socket, &most); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	places := make(chan struct{}, most)
	for _, a := range attacks() {
		each := 2
		if a.held {
			each = most / 8
		}
		for range each {
			go func() {
				for {
					places <- struct{}{}
					attack(socket, a.do)
					<-places
				}
			}()
		}
	}
	fmt.Println("attacking")
	select {}
}

// attack makes one connection and holds on to it until it is closed.
func attack(socket string, do func(net.Conn) error) {
	c, err := net.Dial("unix", socket)
	if errors.Is(err, syscall.EAGAIN) { // the backlog is full
		<-time.After(time.Millisecond)
		return
	}
	if err != nil {
		<-time.After(10 * time.Millisecond)
		return
	}
	defer c.Close()
	if do(c) != nil {
		return
	}
	// Not read: only to see it closed, look for what never comes.
	rc, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return
	}
	for {
		var gone bool
		if err := rc.Control(func(fd uintptr) { gone = hungUp(int(fd)) }); err != nil || gone {
			return
		}
		<-time.After(50 * time.Millisecond)
	}
}

// hungUp says whether the other end has closed.
func hungUp(fd int) bool {
	var b [1]byte
	if _, _, err := syscall.Recvfrom(fd, b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT); err != nil {
		return !errors.Is(err, syscall.EAGAIN)
	}
	// There is something to read, which we do not. A write tells whether anybody listens.
	_, err := syscall.Write(fd, []byte("\r\n"))
	return err != nil && !errors.Is(err, syscall.EAGAIN)
}
