package ipc

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"
)

const (
	// streamBuffer is how much of a stream is gathered before it is written.
	streamBuffer = 32 << 10
	// streamDelay is how long a line may wait for company. Without it each
	// line of a flood would cost a write and a wake-up of the reader.
	streamDelay = 10 * time.Millisecond
)

// stream writes NDJSON. Lines are gathered; a full buffer is written at once,
// any other after streamDelay. Every write has a deadline: a reader that does
// not read is dropped.
type stream struct {
	r     *request
	mu    sync.Mutex
	buf   []byte
	err   error // the first failed write; sticky
	armed bool  // timer will flush
	timer *time.Timer
	ended bool
}

// stream runs fn, which sends the lines. ctx ends with the request or with the
// server. An error before the first write is an ordinary answer; after it, it
// is the last line: {"error":{…}}.
func (r *request) stream(fn func(context.Context, *stream) error) error {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go func() {
		select {
		case <-r.srv.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	st := &stream{r: r}
	// A follower of something silent should know that it was heard.
	st.armed = true
	st.timer = time.AfterFunc(streamDelay, st.tick)
	err := fn(ctx, st)
	return st.end(ctx, err)
}

func (st *stream) tick() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.armed = false
	if !st.ended {
		st.flush()
	}
}

// send adds one line.
func (st *stream) send(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("cannot encode a line: %w", err)
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.err != nil {
		return st.err
	}
	st.buf = append(append(st.buf, b...), '\n')
	if len(st.buf) >= streamBuffer {
		st.flush()
		return st.err
	}
	if !st.armed {
		st.armed = true
		st.timer.Reset(streamDelay)
	}
	return nil
}

// flush writes what is gathered, and the header if it has not left yet.
func (st *stream) flush() {
	if st.err != nil {
		return
	}
	r := st.r
	if !r.started {
		r.started = true
		r.w.Header().Set("Content-Type", "application/x-ndjson")
		r.w.WriteHeader(http.StatusOK)
	}
	if st.err = r.rc.SetWriteDeadline(time.Now().Add(r.srv.limits.WriteTimeout)); st.err != nil {
		return
	}
	if _, st.err = r.w.Write(st.buf); st.err != nil {
		return
	}
	st.err = r.rc.Flush()
	st.buf = st.buf[:0]
}

// end writes the rest. Afterwards the timer touches nothing.
func (st *stream) end(ctx context.Context, err error) error {
	st.timer.Stop()
	st.mu.Lock()
	defer st.mu.Unlock()
	st.ended = true
	if st.err != nil {
		return st.err
	}
	if err != nil && ctx.Err() == nil {
		if !st.r.started && len(st.buf) == 0 {
			return err
		}
		st.buf = append(st.buf, errorJSON(asError(err))...)
	}
	st.flush()
	return st.err
}
