package logs

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	maxClients   = 256
	maxRequest   = 64 << 10
	maxNames     = 10000
	requestTime  = 5 * time.Second
	stallTime    = 5 * time.Minute // of a client that takes nothing at all
	maxSocketLen = 107
)

// listen makes the query socket, in the place of a stale one.
func listen(dir string) (*net.UnixListener, string, error) {
	path := filepath.Join(dir, SocketName)
	temp := path + ".new" // renamed when its mode is right
	if len(temp) > maxSocketLen {
		return nil, "", fmt.Errorf("cannot listen at %s: the path is longer than %d bytes: choose a shorter --runtime-dir", path, maxSocketLen-len(".new"))
	}
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, "", fmt.Errorf("cannot listen at %s: %w", path, err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: temp, Net: "unix"})
	if err != nil {
		return nil, "", fmt.Errorf("cannot listen at %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false) // it would unlink temp's name
	err = os.Chmod(temp, 0o600)
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		return nil, "", fmt.Errorf("cannot listen at %s: %w", path, errors.Join(err, l.Close()))
	}
	return l, path, nil
}

// server answers queries.
type server struct {
	hub     *hub
	ln      *net.UnixListener
	slots   chan struct{}
	clients sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

func newServer(h *hub, ln *net.UnixListener) *server {
	return &server{hub: h, ln: ln, slots: make(chan struct{}, maxClients), conns: make(map[net.Conn]struct{})}
}

// serve accepts until the listener is closed. Queries end with ctx.
func (s *server) serve(ctx context.Context) {
	pause := time.Duration(0)
	for {
		conn, err := s.ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Out of descriptors or memory: that passes, or no query is answered.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			if pause == time.Second {
				s.hub.print("cannot accept a log query: " + err.Error())
			}
			select {
			case <-time.After(pause):
				continue
			case <-ctx.Done():
				return
			}
		}
		pause = 0
		select {
		case s.slots <- struct{}{}:
			s.keep(conn)
			s.clients.Go(func() {
				defer func() { <-s.slots }()
				defer s.drop(conn)
				s.handle(ctx, conn)
			})
		default:
			// It fits in any socket buffer, so this does not wait; a refused
			// client that is gone needs no answer.
			_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
			_, _ = conn.Write(errorAnswer(fmt.Errorf("cannot read logs: %d readers already: end some \"nines logs -f\"", maxClients)))
			_ = conn.Close()
		}
	}
}

func (s *server) keep(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[conn] = struct{}{}
}

func (s *server) drop(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
	_ = conn.Close() // what was to be said was flushed
}

// finish waits at most d for the clients to take what is left, then hangs up.
func (s *server) finish(d time.Duration) {
	deadline := time.Now().Add(d)
	s.mu.Lock()
	for conn := range s.conns {
		_ = conn.SetDeadline(deadline) // a closed one is done already
	}
	s.mu.Unlock()
	s.clients.Wait()
}

func errorAnswer(err error) []byte {
	b, jsonErr := json.Marshal(struct {
		Error string `json:"error"`
	}{err.Error()})
	if jsonErr != nil { // a struct of one string always encodes
		return nil
	}
	return append(b, '\n')
}

func (s *server) handle(ctx context.Context, conn net.Conn) {
	q, err := readQuery(conn)
	if err != nil {
		// The client hears why, unless it is gone.
		_ = conn.SetWriteDeadline(time.Now().Add(requestTime))
		_, _ = conn.Write(errorAnswer(err))
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.clients.Go(func() {
		// Nothing more is expected: this returns when the client is gone, or
		// when we close.
		_, _ = io.Copy(io.Discard, conn)
		cancel()
	})
	out := newEncoder(conn)
	if q.Notices {
		err = s.notices(ctx, q, out)
	} else {
		err = s.hub.answer(ctx, q, out.emit)
	}
	switch {
	case errors.Is(err, errClient), errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return
	case err != nil:
		_, err = conn.Write(errorAnswer(err))
	default:
		_, err = conn.Write([]byte("{\"end\":true}\n"))
	}
	if err != nil {
		return // the client is gone
	}
}

// notices answers a query for notices and counts: those that there are, and those
// that come until ctx ends; then what there still is. Counts come at most once in
// pauseOfCounts, however many lines match.
func (s *server) notices(ctx context.Context, q Query, out *encoder) error {
	n := s.hub.notices
	seq, counted := q.After, uint64(0)
	if q.Epoch != n.epoch {
		seq = 0
	}
	err := out.say(&said{Epoch: n.epoch})
	if err = errors.Join(err, out.flush()); err != nil {
		return err
	}
	for {
		ended := ctx.Err() != nil
		batch, more := n.after(seq)
		counts, upTo, news := s.hub.tallies.since(counted)
		if len(batch)+len(counts) == 0 {
			if ended {
				return nil
			}
			select {
			case <-more:
			case <-news:
			case <-ctx.Done():
			}
			continue
		}
		for i := range batch {
			err = errors.Join(err, out.say(&said{Notice: &batch[i]}))
			seq = batch[i].Seq
		}
		for i := range counts {
			err = errors.Join(err, out.say(&said{Count: &counts[i]}))
		}
		counted = upTo
		if err = errors.Join(err, out.flush()); err != nil {
			return err
		}
		if len(counts) > 0 && !ended {
			within(pauseOfCounts, ctx.Done())
		}
	}
}

// said is one line of the answer to a query for notices.
type said struct {
	Epoch  string  `json:"epoch,omitempty"`
	Notice *Notice `json:"notice,omitempty"`
	Count  *Count  `json:"count,omitempty"`
}

// readQuery reads one line of JSON.
func readQuery(conn net.Conn) (Query, error) {
	if err := conn.SetReadDeadline(time.Now().Add(requestTime)); err != nil {
		return Query{}, err
	}
	line, err := bufio.NewReaderSize(io.LimitReader(conn, maxRequest+1), 4096).ReadBytes('\n')
	if err != nil {
		if len(line) > maxRequest {
			return Query{}, fmt.Errorf("cannot read the log query: longer than %d bytes", maxRequest)
		}
		return Query{}, fmt.Errorf("cannot read the log query: %w", err)
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return Query{}, err
	}
	return parseQuery(line)
}

func parseQuery(line []byte) (Query, error) {
	var q Query
	d := json.NewDecoder(bytes.NewReader(line))
	if err := d.Decode(&q); err != nil {
		return Query{}, fmt.Errorf("cannot understand the log query: %w", err)
	}
	if n := len(q.Instances) + len(q.Services); n > maxNames {
		return Query{}, fmt.Errorf("cannot answer a log query with %d names, more than %d", n, maxNames)
	}
	return q, nil
}

// errClient: the client does not take our lines.
var errClient = errors.New("cannot write to the client")

// encoder writes entries as NDJSON.
type encoder struct {
	conn net.Conn
	buf  bytes.Buffer
	json *json.Encoder
}

func newEncoder(conn net.Conn) *encoder {
	e := &encoder{conn: conn}
	e.json = json.NewEncoder(&e.buf)
	e.json.SetEscapeHTML(false)
	return e
}

func (e *encoder) emit(batch []entry) error {
	for i := range batch {
		if err := e.json.Encode(batch[i].line()); err != nil {
			return fmt.Errorf("cannot encode a line: %w", err)
		}
		if e.buf.Len() >= 32<<10 || i == len(batch)-1 {
			if err := e.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// say adds a line; flush sends it.
func (e *encoder) say(v *said) error {
	if err := e.json.Encode(v); err != nil {
		return fmt.Errorf("cannot encode a notice: %w", err)
	}
	return nil
}

func (e *encoder) flush() error {
	defer func() {
		if e.buf.Cap() > 256<<10 {
			e.buf = bytes.Buffer{}
		}
		e.buf.Reset()
	}()
	if err := e.conn.SetWriteDeadline(time.Now().Add(stallTime)); err != nil {
		return errors.Join(errClient, err)
	}
	if _, err := e.conn.Write(e.buf.Bytes()); err != nil {
		return errors.Join(errClient, err)
	}
	return nil
}
