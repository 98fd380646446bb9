package ipc

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// gate is the listener in front of the HTTP server: it knows who connects and
// turns away, with one small write and without a goroutine or a read, callers
// who may not do anything and connections past the limits. So a flood of
// connections costs an accept each and holds nothing.
type gate struct {
	net.Listener
	policy  accessPolicy
	creds   func(net.Conn) (*credentials, error)
	limits  Limits
	onError func(error)

	mu      sync.Mutex
	open    int            // connections in all
	other   int            // of these, by others than root and our own user
	readers int            // of these, by those who may only read
	byUID   map[uint32]int // of the others, by user; no entry is 0
}

func (g *gate) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		cred, err := g.creds(c)
		if err != nil {
			g.onError(err)
			g.refuse(c, forbiddenError())
			continue
		}
		p := g.policy.judge(cred)
		if p.access == accessNone {
			g.refuse(c, forbiddenError())
			continue
		}
		if !g.enter(p) {
			g.refuse(c, &Error{Code: CodeBusy, Message: "cannot take another connection: too many are open", Hint: "try again"})
			continue
		}
		return &peerConn{Conn: c, peer: p, gate: g}, nil
	}
}

// enter counts a connection in. Others than the owner get a part only, of that
// those who may only read another, and of that each user another: so readers
// cannot lock out who may act, one user not the next, and nobody the owner.
func (g *gate) enter(p *peer) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open >= g.limits.MaxConns {
		return false
	}
	if !p.owner {
		user := g.limits.MaxUserConns
		if p.access < accessWrite {
			if g.readers >= g.limits.MaxReaderConns {
				return false
			}
			user = max(1, user/2)
		}
		if g.other >= g.limits.MaxOtherConns || g.byUID[p.UID] >= user {
			return false
		}
	}
	g.count(p, 1)
	return true
}

func (g *gate) leave(p *peer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.count(p, -1)
}

func (g *gate) count(p *peer, by int) {
	g.open += by
	if p.owner {
		return
	}
	g.other += by
	if p.access < accessWrite {
		g.readers += by
	}
	if g.byUID == nil {
		g.byUID = map[uint32]int{}
	}
	if g.byUID[p.UID] += by; g.byUID[p.UID] == 0 {
		delete(g.byUID, p.UID)
	}
}

// refuse tells a caller why, in one write that does not wait: the buffer of a new
// socket is empty. There is no deadline, which a busy machine could let pass before
// the write is tried. A caller that cannot be told is closed all the same: nothing
// to do about it.
func (g *gate) refuse(c net.Conn, e *Error) {
	if sc, ok := c.(syscall.Conn); ok {
		if rc, err := sc.SyscallConn(); err == nil {
			_ = rc.Write(func(fd uintptr) bool { // it has hung up
				_ = unix.Send(int(fd), rawResponse(e), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL) // likewise
				return true                                                                 // also where it would have to wait
			})
		}
	}
	_ = c.Close()
}

func forbiddenError() *Error {
	return &Error{
		Code:    CodeForbidden,
		Message: "cannot let you: not permitted",
		Hint:    "be root, the supervisor's user, or a member of its control.group",
	}
}

// rawResponse is a whole HTTP response, for a connection that no request is
// read from.
func rawResponse(e *Error) []byte {
	body := errorJSON(e)
	status := e.Code.HTTPStatus()
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		status, http.StatusText(status), len(body), body)
}

func errorJSON(e *Error) []byte {
	b, err := json.Marshal(errorBody{e})
	if err != nil { // three strings always marshal
		return []byte(`{"error":{"code":"internal","message":"","hint":""}}` + "\n")
	}
	return append(b, '\n')
}

// peerConn is a connection that knows its caller and counts itself out.
type peerConn struct {
	net.Conn
	peer *peer
	gate *gate
	once sync.Once
}

func (c *peerConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { c.gate.leave(c.peer) })
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
