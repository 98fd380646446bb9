package probe

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// Client is what all probes of a process share: how they connect, and buffers.
// It holds nothing that must be closed.
type Client struct {
	dialer    net.Dialer
	transport *http.Transport // of gRPC
	scratch   sync.Pool       // of *scratch
}

// scratch is what one attempt reads with.
type scratch struct {
	limit io.LimitedReader
	br    *bufio.Reader
	body  []byte
}

// NewClient makes a Client.
func NewClient() *Client {
	// Keep-alive probes on a connection that lives for milliseconds would only
	// cost system calls.
	c := &Client{dialer: net.Dialer{KeepAlive: -1}}
	c.transport = c.newTransport()
	return c
}

func (c *Client) borrow() *scratch {
	if s, ok := c.scratch.Get().(*scratch); ok {
		return s
	}
	s := &scratch{}
	s.br = bufio.NewReaderSize(&s.limit, 4<<10)
	return s
}

// giveBack takes a scratch that nothing refers to any more.
func (c *Client) giveBack(s *scratch) {
	s.limit.R = nil
	c.scratch.Put(s)
}

// dial connects. Everything on the connection ends when ctx does: by its
// deadline, and at once when it is canceled. release closes it.
func (c *Client) dial(ctx context.Context, network, address string) (conn net.Conn, release func(), err error) {
	if conn, err = c.dialer.DialContext(ctx, network, address); err != nil {
		return nil, nil, err
	}
	if end, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(end); err != nil {
			conn.Close()
			return nil, nil, err
		}
	}
	stop := context.AfterFunc(ctx, func() {
		// It fails only on a closed connection, on which nobody waits.
		_ = conn.SetDeadline(time.Unix(1, 0))
	})
	return conn, func() {
		stop()
		conn.Close()
	}, nil
}
