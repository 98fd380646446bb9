package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// illness is what a service has that answers /healthz until it is told to fall
// ill. Requests and errors are counted at /metrics.
type illness struct {
	mu       sync.Mutex // whoever has it answers
	slower   atomic.Int64
	percent  atomic.Int64
	asked    atomic.Int64
	errors   atomic.Int64
	listener net.Listener
}

// ill serves on 127.0.0.1:$NINES_PORT_http. /be?what=… makes it ill:
//
//	what=stop            it stops itself by SIGSTOP
//	what=deadlock        /healthz waits for a lock that nobody gives back
//	what=spin            likewise, and all its threads are busy
//	what=pause&for=5s    no answer for so long, as of a garbage collector
//	what=slow&by=1ms     each answer takes so much longer than the one before
//	what=errors&percent=N  so many of a hundred answers are 500
//	what=refuse          nothing accepts any more
func ill([]string) {
	port := os.Getenv("NINES_PORT_http")
	if port == "" {
		fail("NINES_PORT_http is not set")
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	check(err)
	i := &illness{listener: l}
	http.HandleFunc("/healthz", i.healthz)
	http.HandleFunc("/metrics", i.metrics)
	http.HandleFunc("/be", i.be)
	say()
	// It returns when the listener is closed; the process goes on.
	if err := http.Serve(l, nil); err != nil {
		fmt.Fprintln(os.Stderr, "misbehave:", err)
	}
	forever()
}

func (i *illness) healthz(w http.ResponseWriter, _ *http.Request) {
	i.mu.Lock()
	n := i.asked.Add(1)
	i.mu.Unlock()
	<-time.After(time.Duration(i.slower.Load() * n))
	if p := i.percent.Load(); n*p%100 < p { // evenly, not in a row
		i.errors.Add(1)
		w.WriteHeader(http.StatusInternalServerError)
	}
	if _, err := fmt.Fprintln(w, "well"); err != nil {
		fmt.Fprintln(os.Stderr, "misbehave:", err)
	}
}

func (i *illness) metrics(w http.ResponseWriter, _ *http.Request) {
	if _, err := fmt.Fprintf(w, "http_requests_total %d\nhttp_errors_total %d\n", i.asked.Load(), i.errors.Load()); err != nil {
		fmt.Fprintln(os.Stderr, "misbehave:", err)
	}
}

func (i *illness) be(_ http.ResponseWriter, r *http.Request) {
	duration := func(key string) time.Duration {
		d, err := time.ParseDuration(r.FormValue(key))
		check(err)
		return d
	}
	switch r.FormValue("what") {
	case "stop":
		check(unix.Kill(os.Getpid(), unix.SIGSTOP))
	case "deadlock":
		i.mu.Lock()
	case "spin":
		i.mu.Lock()
		for range 4 {
			go func() {
				for n := 0; ; n++ {
				}
			}()
		}
	case "pause":
		i.mu.Lock()
		time.AfterFunc(duration("for"), i.mu.Unlock)
	case "slow":
		i.asked.Store(0)
		i.slower.Store(int64(duration("by")))
	case "errors":
		n, err := strconv.ParseInt(r.FormValue("percent"), 10, 64)
		check(err)
		i.asked.Store(0)
		i.percent.Store(n)
	case "refuse":
		check(i.listener.Close())
	default:
		fail("no such illness: " + r.FormValue("what"))
	}
}
