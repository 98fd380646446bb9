package listen

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"nines/spec"
)

func bindUnix(a spec.ListenAddress, owner *Owner) (Socket, error) {
	fd, err := open(unix.AF_UNIX)
	if err != nil {
		return Socket{FD: -1}, &Error{a.String(), errno(err).Error(), errno(err)}
	}
	id, err := setUpUnix(fd, a, owner)
	if err != nil {
		closeFD(fd)
		return Socket{FD: -1}, err
	}
	return Socket{fd, id}, nil
}

func setUpUnix(fd int, a spec.ListenAddress, owner *Owner) (string, error) {
	sa := &unix.SockaddrUnix{Name: a.Path}
	// The mode of the file that bind makes is this, less the umask: nobody gets
	// in by way of a moment, even where they could before listen.
	err := unix.Fchmod(fd, 0o600)
	if err == nil {
		err = unix.Bind(fd, sa)
	}
	if err == unix.EADDRINUSE {
		if err := removeStale(a); err != nil {
			return "", err
		}
		err = unix.Bind(fd, sa)
	}
	if err != nil {
		return "", explainUnix(a, errno(err))
	}
	id, err := own(a, owner)
	if err == nil {
		if err = unix.Listen(fd, backlog); err != nil {
			err = &Error{a.String(), errno(err).Error(), errno(err)}
		}
	}
	if err != nil {
		// It is ours, and of no use: what cannot be removed is stale, and is the
		// next time.
		_ = unix.Unlink(a.Path)
		return "", err
	}
	return id, nil
}

// removeStale removes a socket's file on which nobody answers. Anything else at
// that path stays, and is the error.
func removeStale(a spec.ListenAddress) error {
	var st unix.Stat_t
	switch err := unix.Lstat(a.Path, &st); {
	case err == unix.ENOENT:
		return nil // gone meanwhile
	case err != nil:
		return explainUnix(a, errno(err))
	case st.Mode&unix.S_IFMT != unix.S_IFSOCK:
		return &Error{a.String(), "something that is no socket has that path: remove it, or name another path", unix.EADDRINUSE}
	}
	probe, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return &Error{a.String(), errno(err).Error(), errno(err)}
	}
	defer closeFD(probe)
	// EAGAIN: it lives, and its backlog is full. EPROTOTYPE: it lives, and is
	// no stream.
	err = unix.Connect(probe, &unix.SockaddrUnix{Name: a.Path})
	if err != unix.ECONNREFUSED && err != unix.ENOENT {
		return &Error{a.String(), "it is in use by " + unixHolders(a.Path), unix.EADDRINUSE}
	}
	if err := unix.Unlink(a.Path); err != nil && err != unix.ENOENT {
		return &Error{a.String(), "the socket that a dead program left there cannot be removed: " + errno(err).Error(), errno(err)}
	}
	return nil
}

// own gives the socket's file its owner and mode, and returns its ID. It goes by
// a descriptor of the file: in a folder where others may write, the path might
// be a link to something else by now.
func own(a spec.ListenAddress, owner *Owner) (string, error) {
	fd, err := unix.Open(a.Path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", explainUnix(a, errno(err))
	}
	defer closeFD(fd)
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err != nil {
		return "", explainUnix(a, errno(err))
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return "", &Error{a.String(), "its file was replaced while it was made", unix.EEXIST}
	}
	if owner != nil {
		if err := unix.Fchownat(fd, "", int(owner.UID), int(owner.GID), unix.AT_EMPTY_PATH); err != nil {
			return "", &Error{a.String(), "it cannot be given to its user: " + errno(err).Error(), errno(err)}
		}
	}
	mode := uint32(defaultMode)
	if a.ModeSet {
		mode = a.Mode
	}
	// There is no fchmod for O_PATH before Linux 6.6.
	if err := unix.Chmod("/proc/self/fd/"+strconv.Itoa(fd), mode); err != nil {
		return "", &Error{a.String(), "its mode cannot be set: " + errno(err).Error(), errno(err)}
	}
	return idOf(&st), nil
}

// Own sets owner and mode of a unix socket that is bound already.
func Own(a spec.ListenAddress, owner *Owner) error {
	_, err := own(a, owner)
	return err
}

// Remove removes the file of a unix socket, if it still is the one of that ID.
func Remove(a spec.ListenAddress, id string) error {
	if a.Network != "unix" {
		return nil
	}
	if now, err := fileID(a.Path); err != nil || now != id {
		return nil // not ours any more
	}
	if err := unix.Unlink(a.Path); err != nil && err != unix.ENOENT {
		return &os.PathError{Op: "cannot remove socket", Path: a.Path, Err: err}
	}
	return nil
}

func fileID(path string) (string, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return "", err
	}
	return idOf(&st), nil
}

// idOf is a name for the file: its device and inode.
func idOf(st *unix.Stat_t) string {
	return strconv.FormatUint(st.Dev, 16) + "-" + strconv.FormatUint(st.Ino, 16)
}

func explainUnix(a spec.ListenAddress, no syscall.Errno) error {
	e := &Error{Address: a.String(), Errno: no}
	dir := filepath.Dir(a.Path)
	switch no {
	case unix.ENOENT:
		e.Why = "its folder " + dir + " does not exist: make it, or name another path"
	case unix.ENOTDIR:
		e.Why = dir + " is not a folder"
	case unix.EACCES, unix.EPERM:
		e.Why = "this user may not make a file in " + dir
	case unix.EROFS:
		e.Why = dir + " is on a read-only filesystem"
	case unix.ENOSPC:
		e.Why = "no space is left in " + dir
	case unix.EADDRINUSE:
		e.Why = "another program took that path meanwhile"
	default:
		e.Why = no.Error()
	}
	return e
}
