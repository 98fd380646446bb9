package logs

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"time"
)

// SocketName is the name of nines-log's query socket in the runtime folder.
const SocketName = "log.sock"

// Query asks for lines. Instances and Services name what is wanted; when both
// are empty, everything is. With Follow, instances that appear later are
// included where a service was named or nothing at all.
type Query struct {
	Instances []string  `json:"instances,omitempty"` // ids: "web/0"
	Services  []string  `json:"services,omitempty"`
	Lines     int       `json:"lines"` // the last so many of each instance; < 0: all that is kept
	Follow    bool      `json:"follow,omitempty"`
	Since     time.Time `json:"since,omitzero"`

	// Notices asks for notices and counts, and not for lines: the notices of Epoch
	// after number After, or all that are kept where the epoch is another by now;
	// all counts that are not 0; and what comes.
	Notices bool   `json:"notices,omitempty"`
	Epoch   string `json:"epoch,omitempty"`
	After   uint64 `json:"after,omitempty"`
}

// Line is one line of output.
type Line struct {
	Time     time.Time `json:"time"`
	Service  string    `json:"service"`
	Instance string    `json:"instance"` // id: "web/0"
	Stream   string    `json:"stream"`   // Out or Err
	Line     string    `json:"line"`     // without its newline; invalid UTF-8 replaced
	// Partial: the line is not finished. Its rest comes as another Line, with
	// the same time.
	Partial bool `json:"partial,omitempty"`
}

// answer is one line of the server's NDJSON: a Line, what was asked by Notices (the
// first one tells the epoch alone), or how the answer ended.
type answer struct {
	Line
	said
	Error string `json:"error,omitempty"`
	End   bool   `json:"end,omitempty"`
}

// ErrNotRunning: nothing listens at the socket.
var ErrNotRunning = errors.New("nines-log is not running")

// ErrInterrupted: the answer broke off, as it does when nines-log dies.
var ErrInterrupted = errors.New("nines-log went away")

// maxAnswer bounds one NDJSON line. A line in memory is at most maxRingLine
// long, one from a file at most maxFileLine, and JSON makes up to 6 bytes of one.
const maxAnswer = 6*maxFileLine + 4096

// Read asks the nines-log behind socket and calls fn for each line, the oldest
// first, until all were given, ctx ends (its error is returned), or fn fails
// (its error is returned as it is).
func Read(ctx context.Context, socket string, q Query, fn func(Line) error) error {
	return ask(ctx, socket, q, func(a *answer) error { return fn(a.Line) })
}

// Hearing is what Notices calls, one after the other and in order. An error ends
// it.
type Hearing struct {
	Epoch  func(epoch string) error // first of all
	Notice func(Notice) error
	Count  func(Count) error
}

// Notices hears of the nines-log behind socket: its epoch, each notice after number
// `after` of that epoch (all that are kept, if it is another now), and each count
// that is not 0, again whenever it has grown. It goes on until ctx ends or one of
// the calls fails (as Read). It returns nil when nines-log has ended in order, and
// said all: only then is nothing missed that it had read.
func Notices(ctx context.Context, socket, epoch string, after uint64, hear Hearing) error {
	return ask(ctx, socket, Query{Notices: true, Epoch: epoch, After: after}, func(a *answer) error {
		switch {
		case a.Notice != nil:
			return hear.Notice(*a.Notice)
		case a.Count != nil:
			return hear.Count(*a.Count)
		case a.Epoch != "":
			return hear.Epoch(a.Epoch)
		}
		return nil // of a newer nines-log
	})
}

func ask(ctx context.Context, socket string, q Query, fn func(*answer) error) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	switch {
	case ctx.Err() != nil:
		if err == nil {
			err = conn.Close()
		}
		return errors.Join(ctx.Err(), err)
	case errors.Is(err, fs.ErrNotExist), isRefused(err):
		return fmt.Errorf("cannot read logs: %w: nothing answers at %s", ErrNotRunning, socket)
	case err != nil:
		return fmt.Errorf("cannot read logs at %s: %w", socket, err)
	}
	stop := context.AfterFunc(ctx, func() {
		// Wakes what blocks below; conn itself is closed when Read returns.
		_ = conn.SetDeadline(time.Unix(1, 0))
	})
	defer func() {
		stop()
		// Nothing is buffered in our end: a failed close loses nothing.
		_ = conn.Close()
	}()
	if err := exchange(conn, q, fn); err != nil {
		if ctx.Err() != nil && errors.Is(err, os.ErrDeadlineExceeded) {
			return ctx.Err()
		}
		return err
	}
	return nil
}

func exchange(conn net.Conn, q Query, fn func(*answer) error) error {
	request, err := json.Marshal(q)
	if err != nil {
		return fmt.Errorf("cannot encode the log query: %w", err)
	}
	// nines-log may refuse and hang up before it has read the question: then the
	// write fails, and the reason is there to be read.
	_, wrote := conn.Write(append(request, '\n'))
	scan := bufio.NewScanner(conn)
	scan.Buffer(make([]byte, 0, 4096), maxAnswer)
	for scan.Scan() {
		var a answer
		if err := json.Unmarshal(scan.Bytes(), &a); err != nil {
			return fmt.Errorf("cannot understand nines-log's answer: %w", err)
		}
		switch {
		case a.Error != "":
			return errors.New(a.Error)
		case a.End:
			return nil
		}
		if err := fn(&a); err != nil {
			return err
		}
	}
	if wrote != nil {
		return fmt.Errorf("cannot ask for logs: %w: %w", ErrInterrupted, wrote)
	}
	err = scan.Err()
	if err == nil {
		err = io.ErrUnexpectedEOF // an orderly answer has its end marked
	}
	return fmt.Errorf("cannot read logs: %w: %w", ErrInterrupted, err)
}
