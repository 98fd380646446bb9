package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"
)

// answer is the web service's front page.
type answer struct {
	Instance string `json:"instance"`
	PID      int    `json:"pid"`
	Version  int    `json:"version"`
	raw      string
}

// page asks for it, on a connection of its own, at host:port or a socket's path.
func page(ctx context.Context, addr string) (answer, error) {
	body, err := get(ctx, addr, "/")
	if err != nil {
		return answer{}, err
	}
	a := answer{raw: body}
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		return a, fmt.Errorf("cannot read the page at %s: %w", addr, err)
	}
	return a, nil
}

func get(ctx context.Context, addr, path string) (body string, err error) {
	network, host := "tcp", addr
	if filepath.IsAbs(addr) {
		network, host = "unix", "localhost"
	}
	url := "http://" + host + path
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	r.Close = true
	var dial net.Dialer
	c := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial.DialContext(ctx, network, addr) },
	}}
	resp, err := c.Do(r)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	return string(text), err
}

// ask sends requests to each address, one after the other, until the function that
// it gives is called, which says how many were answered and how many were not, and
// why the first one was not.
func ask(ctx context.Context, addrs ...string) func() (answered, failed int, err error) {
	var (
		wg               sync.WaitGroup
		mu               sync.Mutex
		answered, failed int
		first            error
	)
	stop := make(chan struct{})
	for _, addr := range addrs {
		wg.Go(func() {
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			for {
				_, err := page(ctx, addr)
				mu.Lock()
				if err == nil {
					answered++
				} else {
					failed++
					first = cmp.Or(first, err)
				}
				mu.Unlock()
				select {
				case <-tick.C:
				case <-stop:
					return
				}
			}
		})
	}
	return func() (int, int, error) {
		close(stop)
		wg.Wait()
		return answered, failed, first
	}
}
