// Package listen makes the sockets that services inherit: it binds an address,
// says why it cannot, and tells whether a socket that was kept is still the one
// that is wanted.
//
// Sockets are as sd_listen_fds(3) hands them on: close-on-exec here (whoever
// starts the service lifts that), blocking, listening with a backlog as deep as
// the kernel allows (net.core.somaxconn), so that clients wait while a service
// is away. A tcp address without a host is both families, where there are both;
// 0.0.0.0 and [::] are one each. A unix socket is connected to by everyone who
// reaches its folder unless a mode says otherwise, and nobody can connect before
// owner and mode are set. One that a dead program left is removed; an address
// that lives is never taken away from whoever has it.
//
// Nothing is remembered: the caller owns the descriptors and must not use one
// address from two goroutines at once.
package listen

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"nines/spec"
)

// backlog is cut by the kernel to what it allows.
const backlog = 1<<31 - 1

// defaultMode of a unix socket: the folder says who gets there.
const defaultMode = 0o666

// Owner is who a unix socket belongs to.
type Owner struct{ UID, GID uint32 }

// Socket is one that listens.
type Socket struct {
	FD int
	// ID names the file of a unix socket, so that another one that took its
	// place is not mistaken for it; "" for tcp.
	ID string
}

// Error says why an address cannot be listened on.
type Error struct {
	Address string
	Why     string
	Errno   syscall.Errno // 0: it never came to a system call
}

// Error is one line: what, why, and the errno's name.
func (e *Error) Error() string {
	text := "cannot listen on " + e.Address + ": " + e.Why
	if e.Errno != 0 {
		text += " (" + unix.ErrnoName(e.Errno) + ")"
	}
	return text
}

// Unwrap gives the errno to errors.Is.
func (e *Error) Unwrap() error {
	if e.Errno == 0 {
		return nil
	}
	return e.Errno
}

// ErrNetwork says that an address is of a network that this package does not
// listen on.
var ErrNetwork = errors.New("only tcp and unix can be listened on")

// Bind listens on a. owner is who a unix socket is to belong to, nil: us. The
// context bounds the lookup of a host's name and nothing else: the rest does
// not wait. Errors of the address are of type *Error.
func Bind(ctx context.Context, a spec.ListenAddress, owner *Owner) (Socket, error) {
	switch a.Network {
	case "tcp":
		return bindTCP(ctx, a)
	case "unix":
		return bindUnix(a, owner)
	}
	return Socket{FD: -1}, ErrNetwork
}

// Check says why fd is not, or no longer, a socket that listens on a; nil: it
// is. id is the ID that it had when it was bound.
func Check(fd int, id string, a spec.ListenAddress) error {
	var sa unix.Sockaddr
	accepts, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err == nil {
		sa, err = unix.Getsockname(fd)
	}
	if err != nil {
		return &Error{a.String(), "what was kept is no socket", errno(err)}
	}
	if accepts == 0 {
		return &Error{a.String(), "what was kept does not listen", 0}
	}
	var at netip.AddrPort
	switch sa := sa.(type) {
	case *unix.SockaddrUnix:
		if a.Network != "unix" || sa.Name != a.Path {
			return &Error{a.String(), "what was kept listens on " + sa.Name, 0}
		}
		if now, err := fileID(a.Path); err != nil || now != id {
			return &Error{a.String(), "its file was removed or replaced", errno(err)}
		}
		return nil
	case *unix.SockaddrInet4:
		at = netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		at = netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	default:
		return &Error{a.String(), "what was kept is a socket of another kind", 0}
	}
	if a.Network != "tcp" || int(at.Port()) != a.Port || !sameHost(a.Host, at.Addr()) {
		return &Error{a.String(), "what was kept listens on " + at.String(), 0}
	}
	return nil
}

// sameHost compares a host as it is written. What a name stands for may have
// changed; a socket that listens is not dropped for it.
func sameHost(host string, have netip.Addr) bool {
	if host == "" {
		return have.IsUnspecified()
	}
	want, err := netip.ParseAddr(host)
	return err != nil || want.WithZone("").Unmap() == have.Unmap()
}

// open makes a socket; EINTR does not happen to these calls.
func open(family int) (int, error) {
	return unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
}

// closeFD closes a socket that nothing was written to: that it fails cannot
// lose anything.
func closeFD(fd int) { _ = unix.Close(fd) }

func bindTCP(ctx context.Context, a spec.ListenAddress) (Socket, error) {
	addr, err := resolve(ctx, a)
	if err != nil {
		return Socket{FD: -1}, err
	}
	fd, err := listenTCP(addr, a.Port, a.Host == "")
	if a.Host == "" && err != nil && noIPv6(err) {
		fd, err = listenTCP(netip.IPv4Unspecified(), a.Port, false)
	}
	if err != nil {
		return Socket{FD: -1}, explainTCP(a, addr, errno(err))
	}
	return Socket{FD: fd}, nil
}

// noIPv6: the kernel was built or booted without it.
func noIPv6(err error) bool {
	no := errno(err)
	return no == unix.EAFNOSUPPORT || no == unix.EADDRNOTAVAIL || no == unix.ENOPROTOOPT
}

func resolve(ctx context.Context, a spec.ListenAddress) (netip.Addr, error) {
	if a.Host == "" {
		return netip.IPv6Unspecified(), nil
	}
	if addr, err := netip.ParseAddr(a.Host); err == nil {
		return addr, nil
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", a.Host)
	if err != nil || len(found) == 0 {
		why := "its name stands for no address"
		if err != nil {
			why = err.Error()
		}
		return netip.Addr{}, &Error{a.String(), why, 0}
	}
	for _, addr := range found {
		if addr.Unmap().Is4() {
			return addr.Unmap(), nil // as package net chooses
		}
	}
	return found[0], nil
}

func listenTCP(addr netip.Addr, port int, both bool) (int, error) {
	var sa unix.Sockaddr
	family := unix.AF_INET6
	if addr.Is4() {
		family, sa = unix.AF_INET, &unix.SockaddrInet4{Port: port, Addr: addr.As4()}
	} else {
		six := &unix.SockaddrInet6{Port: port, Addr: addr.As16()}
		if zone := addr.Zone(); zone != "" {
			n, err := zoneID(zone)
			if err != nil {
				return -1, err
			}
			six.ZoneId = n
		}
		sa = six
	}
	fd, err := open(family)
	if err != nil {
		return -1, err
	}
	// Else a restart would have to wait for connections in TIME_WAIT.
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err == nil && family == unix.AF_INET6 {
		only := 1
		if both {
			only = 0
		}
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only)
	}
	if err == nil {
		err = unix.Bind(fd, sa)
	}
	if err == nil {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		closeFD(fd)
		return -1, err
	}
	return fd, nil
}

func zoneID(zone string) (uint32, error) {
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n), nil
	}
	i, err := net.InterfaceByName(zone)
	if err != nil {
		return 0, unix.ENODEV
	}
	return uint32(i.Index), nil
}

func explainTCP(a spec.ListenAddress, addr netip.Addr, no syscall.Errno) error {
	e := &Error{Address: a.String(), Errno: no}
	switch no {
	case unix.EADDRINUSE:
		e.Why = "it is in use by " + tcpHolders(addr, a.Port, a.Host == "")
	case unix.EACCES:
		e.Why = "ports below 1024 need root, CAP_NET_BIND_SERVICE or a lower net.ipv4.ip_unprivileged_port_start"
	case unix.EADDRNOTAVAIL:
		e.Why = "no interface of this machine has that address"
	case unix.EAFNOSUPPORT:
		e.Why = "this kernel has no IPv6"
	case unix.ENODEV:
		e.Why = "there is no network interface " + addr.Zone()
	default:
		e.Why = no.Error()
	}
	return e
}

// errno is the errno in an error of a system call.
func errno(err error) syscall.Errno {
	var no syscall.Errno
	errors.As(err, &no)
	return no
}

// clean keeps what another program chose to be called fit for a line.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}
