// Command notify is a service as nines would have it: it says when it is ready,
// gives a sign of life while it works, and says what it does. Copy say and
// heartbeat; they need nothing but the standard library.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"
)

// say tells the supervisor: "READY=1", "STATUS=…", "WATCHDOG=1". Without one it
// does nothing.
func say(what string) error {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return nil
	}
	c, err := net.Dial("unixgram", socket) // "@…" is an abstract one for net, too
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte(what))
	return err
}

// heartbeat says, twice as often as is asked for, that the program works, as
// long as it does.
func heartbeat(works func() bool) {
	usec, err := strconv.Atoi(os.Getenv("WATCHDOG_USEC"))
	if err != nil || usec <= 0 {
		return
	}
	for range time.Tick(time.Duration(usec) * time.Microsecond / 2) {
		if works() {
			_ = say("WATCHDOG=1") // if nobody hears it, that is what it would tell
		}
	}
}

func main() {
	var stuck atomic.Bool
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprintln(w, "hello") }) // who has gone misses nothing
	http.HandleFunc("/hang", func(w http.ResponseWriter, r *http.Request) { stuck.Store(true) })
	l, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("NINES_PORT_http"))
	if err == nil {
		go heartbeat(func() bool { return !stuck.Load() }) // ask what matters: a lock, a queue, a loop
		err = say("READY=1\nSTATUS=serving on " + l.Addr().String())
	}
	if err == nil {
		err = (&http.Server{ReadHeaderTimeout: 10 * time.Second}).Serve(l)
	}
	fmt.Fprintln(os.Stderr, "cannot serve:", err)
	os.Exit(1)
}
