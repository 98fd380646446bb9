package keeper

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Place is the runtime directory: where the lock and the sockets are.
type Place struct {
	Path   string      // absolute
	Mode   os.FileMode // that it gets when it is made
	Chosen bool        // by a person: one that exists is taken as it is
	spare  []Place     // used where this one cannot be made; `nines` looks there too
}

// FindPlace says where the runtime directory is: given by flag, else by
// NINES_RUNTIME_DIR, else where the user's kind has it.
func FindPlace(flag string, env []string, uid int) (Place, error) {
	for _, chosen := range []string{flag, getenv(env, "NINES_RUNTIME_DIR")} {
		if chosen == "" {
			continue
		}
		path, err := filepath.Abs(chosen)
		if err != nil {
			return Place{}, refusal("cannot find the runtime directory " + chosen + ": " + err.Error() + ": give --runtime-dir an absolute path")
		}
		return Place{Path: path, Mode: 0o711, Chosen: true}, nil
	}
	// A container may have a read-only root filesystem: /dev/shm is what engines
	// leave writable for everyone.
	mode := os.FileMode(0o700)
	var places []Place
	if uid == 0 {
		mode = 0o711 // services of other users reach their sockets there
		places = append(places, Place{Path: "/run/nines", Mode: mode})
	} else if xdg := getenv(env, "XDG_RUNTIME_DIR"); filepath.IsAbs(xdg) {
		places = append(places, Place{Path: filepath.Join(xdg, "nines"), Mode: 0o711})
	}
	name := "nines-" + strconv.Itoa(uid)
	places = append(places, Place{Path: "/tmp/" + name, Mode: mode}, Place{Path: "/dev/shm/" + name, Mode: mode})
	first := places[0]
	first.spare = places[1:]
	return first, nil
}

// settle makes the directory, here or at the first of its spares where that is
// possible. The error is of the first: it is the one that people expect.
func (p Place) settle() (Place, error) {
	err := p.Make()
	var unwritable unwritableError
	if err == nil || !errors.As(err, &unwritable) {
		return p, err
	}
	for _, other := range p.spare {
		if other.Make() == nil {
			return other, nil
		}
	}
	return p, err
}

// unwritableError says that there is no directory, and that one elsewhere would
// do: nobody stands in the way.
type unwritableError struct{ error }

// Make makes the directory, or checks the one that is there: whoever else could
// write to it, or owns it, could put a socket of his own in place of ours.
func (p Place) Make() error {
	err := os.Mkdir(p.Path, p.Mode)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(p.Path), 0o755); err == nil {
			err = os.Mkdir(p.Path, p.Mode)
		}
	}
	made := err == nil
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return unwritableError{p.cannot("make", cause(err), "make it (in a container: mount a tmpfs at /run or /tmp), or give --runtime-dir a path that you may write to")}
	}
	// By descriptor: what is checked is what is changed.
	flags := unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC
	if made || !p.Chosen || everyonesParent(p.Path) {
		flags |= unix.O_NOFOLLOW // in /tmp a link is somebody's trap
	}
	fd, err := openRetry(p.Path, flags, 0)
	if errors.Is(err, unix.EACCES) {
		// 0711 of somebody else: it cannot be opened for reading. O_PATH tells whose it is.
		fd, err = openRetry(p.Path, flags&^unix.O_RDONLY|unix.O_PATH, 0)
	}
	if err != nil {
		return p.cannot("use", err.Error(), "remove it, or give --runtime-dir a folder of your own")
	}
	defer func() { _ = unix.Close(fd) }() // nothing was written
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return p.cannot("use", err.Error(), "give --runtime-dir another")
	}
	uid := uint32(os.Geteuid())
	mode := st.Mode & 0o7777
	switch {
	case st.Uid != uid && (st.Uid != 0 || everyonesParent(p.Path)):
		return p.cannot("use", "it belongs to user "+strconv.Itoa(int(st.Uid)), "remove it, or give --runtime-dir a folder of your own")
	case mode&0o002 != 0 && (p.Chosen || st.Uid != uid):
		return p.cannot("use", "everyone may write to it", "give --runtime-dir a folder of its own")
	}
	if !made && !p.Chosen {
		// One of the image, on a read-only filesystem.
		if err := unix.Faccessat(unix.AT_FDCWD, p.Path, unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
			return unwritableError{p.cannot("use", err.Error(), "make it writable (in a container: mount a tmpfs at /run or /tmp), or give --runtime-dir a path that you may write to")}
		}
	}
	// A umask may have taken bits away; an older default may have more.
	if made || !p.Chosen && st.Uid == uid {
		if want := uint32(p.Mode.Perm()); mode != want {
			if err := unix.Fchmod(fd, want); err != nil {
				return p.cannot("use", os.NewSyscallError("fchmod", err).Error(), "give --runtime-dir another")
			}
		}
	}
	return nil
}

func (p Place) cannot(verb, why, what string) error {
	return refusal("cannot " + verb + " the runtime directory " + p.Path + ": " + why + ": " + what)
}

// cause is an error without the path, which is named beside it.
func cause(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// everyonesParent reports whether path stands in a folder such as /tmp.
func everyonesParent(path string) bool {
	var st unix.Stat_t
	return unix.Stat(filepath.Dir(path), &st) == nil && st.Mode&0o002 != 0
}

func openRetry(path string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Open(path, flags, mode)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// getenv returns the last value of key in env.
func getenv(env []string, key string) string {
	for i := len(env) - 1; i >= 0; i-- {
		if v, ok := cutKey(env[i], key); ok {
			return v
		}
	}
	return ""
}

func cutKey(entry, key string) (value string, ok bool) {
	if len(entry) > len(key) && entry[len(key)] == '=' && entry[:len(key)] == key {
		return entry[len(key)+1:], true
	}
	return "", false
}

// baseEnv is the environment of both children but for their generation. What
// our own manager told us is for us: a service that found its NOTIFY_SOCKET
// would speak in our name.
func baseEnv(env []string, runtimeDir, dir string, pid int) []string {
	own := []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID",
		"NINES_KEEPER_FD", "NINES_KEEPER_PID", "NINES_KEEPER_DIR", "NINES_GENERATION", "NINES_RESTARTS", "NINES_RUNTIME_DIR", "NINES_MACHINE"}
	kept := make([]string, 0, len(env)+5)
entries:
	for _, e := range env {
		for _, key := range own {
			if _, ok := cutKey(e, key); ok {
				continue entries
			}
		}
		kept = append(kept, e)
	}
	return append(kept, "NINES_KEEPER_FD=3", "NINES_KEEPER_PID="+strconv.Itoa(pid), "NINES_KEEPER_DIR="+dir, "NINES_RUNTIME_DIR="+runtimeDir)
}

// childEnv adds what belongs to one generation. The watchdog is told as sd_notify
// has it, but for WATCHDOG_PID: the pid is not known before the process is.
func childEnv(base []string, generation, crashes int, watchdog time.Duration) []string {
	env := append(base[:len(base):len(base)], "NINES_GENERATION="+strconv.Itoa(generation), "NINES_RESTARTS="+strconv.Itoa(crashes))
	if watchdog > 0 {
		env = append(env, "WATCHDOG_USEC="+strconv.FormatInt(watchdog.Microseconds(), 10))
	}
	return env
}
