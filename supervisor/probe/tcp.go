package probe

import (
	"context"
	"time"
)

// TCP passes when something accepts a connection. The connection is closed in
// the ordinary way, not reset: a reset is an error to the server, and careless
// ones end of it.
type TCP struct {
	c       *Client
	address string
}

// TCP makes a probe of "HOST:PORT".
func (c *Client) TCP(address string) *TCP { return &TCP{c: c, address: address} }

// Probe makes one attempt.
func (t *TCP) Probe(ctx context.Context) Result {
	start := time.Now()
	_, release, err := t.c.dial(ctx, "tcp", t.address)
	r := Result{Took: time.Since(start)}
	if err != nil {
		r.Err = failed(ctx, start, "connect to "+t.address, err)
		return r
	}
	release()
	return r
}
