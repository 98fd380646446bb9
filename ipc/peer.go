package ipc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// access is what a caller may do. The zero value is nothing.
type access uint8

const (
	accessNone access = iota
	accessRead
	accessWrite
)

// credentials are who connected, as the kernel noted at connect(2).
type credentials struct {
	Caller
	Groups []uint32 // supplementary
}

func (c *credentials) inGroup(gid uint32) bool {
	return c.GID == gid || slices.Contains(c.Groups, gid)
}

// peer is a caller and what it may do, decided once at accept and carried by
// the connection's context.
type peer struct {
	Caller
	access access
	owner  bool // root, or our own user
}

type peerKey struct{}

func withPeer(ctx context.Context, p *peer) context.Context {
	return context.WithValue(ctx, peerKey{}, p)
}

// peerFrom returns the caller of a request. Without one (which would be a bug
// in the wiring) nothing is allowed.
func peerFrom(ctx context.Context) *peer {
	if p, ok := ctx.Value(peerKey{}).(*peer); ok {
		return p
	}
	return &peer{}
}

// accessPolicy is who may do what.
type accessPolicy struct {
	uid      uint32 // our own
	group    uint32 // control.group
	hasGroup bool
	mode     uint32 // of the socket
	gid      uint32 // group of the socket's file
}

// judge decides: root, our own user and members of control.group may do all.
// Anyone else may read if the read bit that the socket's mode has for them is
// set. (connect(2) itself asks for the write bit, so 0622 lets others connect
// and be refused.)
//
// Membership is that of the connecting process: its primary group and its
// supplementary groups, as the kernel recorded them at connect (SO_PEERGROUPS,
// Linux 4.13). That is the rule by which the kernel judges file permissions, and
// unlike /proc/PID/status it cannot be fooled by a reused pid. The group
// database is not asked: someone added to the group has to log in again.
func (a *accessPolicy) judge(c *credentials) *peer {
	p := &peer{Caller: c.Caller, owner: c.UID == 0 || c.UID == a.uid}
	switch {
	case p.owner:
		p.access = accessWrite
	case a.hasGroup && c.inGroup(a.group):
		p.access = accessWrite
	case c.inGroup(a.gid):
		if a.mode&0o040 != 0 {
			p.access = accessRead
		}
	case a.mode&0o004 != 0:
		p.access = accessRead
	}
	return p
}

// readCredentials asks the kernel who is at the other end of a unix socket.
func readCredentials(c net.Conn) (*credentials, error) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return nil, errors.New("cannot read peer credentials: not a socket")
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("cannot read peer credentials: %w", err)
	}
	var out *credentials
	var rerr error
	if err := raw.Control(func(fd uintptr) { out, rerr = credentialsOf(int(fd)) }); err != nil {
		return nil, fmt.Errorf("cannot read peer credentials: %w", err)
	}
	return out, rerr
}

func credentialsOf(fd int) (*credentials, error) {
	u, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return nil, fmt.Errorf("cannot read peer credentials: %w", os.NewSyscallError("getsockopt SO_PEERCRED", err))
	}
	groups, err := peerGroups(fd)
	if err != nil {
		return nil, fmt.Errorf("cannot read peer groups: %w", os.NewSyscallError("getsockopt SO_PEERGROUPS", err))
	}
	return &credentials{Caller: Caller{PID: int(u.Pid), UID: u.Uid, GID: u.Gid}, Groups: groups}, nil
}

// peerGroups returns the supplementary groups of the peer. x/sys has no wrapper
// for this option. Where the kernel does not know it, only the primary group
// counts.
func peerGroups(fd int) ([]uint32, error) {
	const size = uint32(unsafe.Sizeof(uint32(0)))
	groups := make([]uint32, 64)
	for range 3 { // the set is fixed at connect: a second try always fits
		n := uint32(len(groups)) * size
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&n)), 0)
		switch errno {
		case 0:
			return groups[:n/size], nil
		case unix.ERANGE: // n is now what is needed
			groups = make([]uint32, n/size+1)
		case unix.EINTR:
		case unix.ENOPROTOOPT, unix.ENODATA:
			return nil, nil
		default:
			return nil, errno
		}
	}
	return nil, unix.ERANGE
}
