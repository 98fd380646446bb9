package ipc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxSocketPath is what sun_path holds, less its NUL.
const maxSocketPath = 107

// probeTimeout bounds how long an old socket is asked whether it is alive.
const probeTimeout = 2 * time.Second

// Listen makes the control socket at path. It is born 0600 under a name of its
// own, gets its group and mode there, and is then renamed into place: nobody
// but its owner can connect before mode and group are set, and a stale socket
// is replaced in one step. A path where somebody answers, or which is no
// socket, is refused. Closing the listener removes the path, unless another
// listener has taken it.
func Listen(path string, mode uint32, group string) (net.Listener, error) {
	temp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path))
	if len(temp) > maxSocketPath {
		return nil, fmt.Errorf("cannot listen on %s: the path is longer than %d bytes; choose a shorter --socket or --runtime-dir", path, maxSocketPath-1)
	}
	gid := -1
	if group != "" {
		g, err := lookupGroup(group)
		if err != nil {
			return nil, fmt.Errorf("cannot listen on %s: %w", path, err)
		}
		gid = int(g)
	}
	if err := vacant(path); err != nil {
		return nil, err
	}
	// Left by a supervisor that died between bind and rename.
	if err := removeSocket(temp); err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", path, err)
	}
	lc := bornPrivate()
	nl, err := lc.Listen(context.Background(), "unix", temp)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", path, err)
	}
	l := nl.(*net.UnixListener)
	l.SetUnlinkOnClose(false)
	own, err := place(temp, path, mode, gid, group)
	if err != nil {
		// The error to tell is the first; a leftover temp is removed next time.
		_ = os.Remove(temp)
		_ = l.Close()
		return nil, err
	}
	return &listener{UnixListener: l, path: path, own: own}, nil
}

// bornPrivate makes sockets of mode 0600. The mode of a unix socket's file is
// that of the socket's inode, less the umask: set before bind, there is no
// instant at which it is wider. Changing the umask instead would change it for
// every thread.
func bornPrivate() *net.ListenConfig {
	return &net.ListenConfig{Control: func(_, _ string, rc syscall.RawConn) error {
		var err error
		if cerr := rc.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }); cerr != nil {
			return cerr
		}
		return err
	}}
}

// place gives temp its group and mode and moves it to path. It returns what
// was moved, so that it can be known again.
func place(temp, path string, mode uint32, gid int, group string) (os.FileInfo, error) {
	if gid >= 0 {
		if err := os.Lchown(temp, -1, gid); err != nil {
			return nil, fmt.Errorf("cannot give the control socket to group %s: %w; run as root or as a member of the group", group, err)
		}
	}
	if err := os.Chmod(temp, fs.FileMode(mode&0o777)); err != nil {
		return nil, fmt.Errorf("cannot set the mode of the control socket: %w", err)
	}
	own, err := os.Lstat(temp)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", path, err)
	}
	if err := os.Rename(temp, path); err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", path, err)
	}
	return own, nil
}

// vacant says why path cannot be taken; nil if it can.
func vacant(path string) error {
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot listen on %s: %w", path, err)
	}
	if fi.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("cannot listen on %s: it exists and is not a socket; remove it or choose another --socket", path)
	}
	c, err := net.DialTimeout("unix", path, probeTimeout)
	if err == nil {
		_ = c.Close() // it was only opened to see whether it opens
		return &ErrInUse{Path: path}
	}
	switch {
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.ENOENT):
		return nil // nobody listens; or gone meanwhile
	case errors.Is(err, unix.EAGAIN), errors.Is(err, os.ErrDeadlineExceeded):
		return &ErrInUse{Path: path} // somebody listens and is behind
	}
	return fmt.Errorf("cannot listen on %s: cannot tell whether another supervisor answers there: %w", path, err)
}

func removeSocket(path string) error {
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if fi.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s exists and is not a socket; remove it", path)
	}
	return os.Remove(path)
}

func lookupGroup(name string) (uint32, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		if id, nerr := strconv.ParseUint(name, 10, 32); nerr == nil {
			return uint32(id), nil
		}
		return 0, fmt.Errorf("cannot find group %q: %w", name, err)
	}
	id, err := strconv.ParseUint(g.Gid, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("cannot read the id of group %q: %w", name, err)
	}
	return uint32(id), nil
}

// listener removes its path when closed, if the path is still its own: the
// next supervisor may have renamed its socket there.
type listener struct {
	*net.UnixListener
	path string
	own  os.FileInfo
	once sync.Once
}

func (l *listener) Close() error {
	var rerr error
	l.once.Do(func() {
		if fi, err := os.Lstat(l.path); err == nil && os.SameFile(fi, l.own) {
			rerr = os.Remove(l.path)
		}
	})
	return errors.Join(rerr, l.UnixListener.Close())
}
