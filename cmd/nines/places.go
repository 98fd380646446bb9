package main

import (
	"errors"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// The folders are each: the flag, else the environment, else what the spec
// says (state and logs), else the default of the user. All are absolute.

func (a *app) runtimePath() (string, error) {
	if p := firstOf(a.flags.runtimeDir, a.getenv("NINES_RUNTIME_DIR")); p != "" {
		return absolute(p)
	}
	first, spares := a.runtimePlaces()
	if !hasSocket(first) {
		// The keeper goes elsewhere where the first cannot be made, as on a
		// read-only root filesystem.
		for _, p := range spares {
			if hasSocket(p) && ownFolder(p, a.uid) == nil {
				return p, nil
			}
		}
	}
	if filepath.Dir(first) == "/tmp" {
		return first, ownFolder(first, a.uid)
	}
	return first, nil
}

// runtimePlaces are the keeper's (keeper.FindPlace), in its order.
func (a *app) runtimePlaces() (first string, spares []string) {
	name := "nines-" + strconv.Itoa(a.uid)
	tmp, shm := filepath.Join("/tmp", name), filepath.Join("/dev/shm", name)
	if a.uid == 0 {
		return "/run/nines", []string{tmp, shm}
	}
	if p := a.getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(p) {
		return filepath.Join(p, "nines"), []string{tmp, shm}
	}
	return tmp, []string{shm}
}

func hasSocket(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, "control.sock"))
	return err == nil
}

// ownFolder refuses a folder in /tmp that somebody else made under our name:
// what listens there is not our supervisor.
func ownFolder(path string, uid int) error {
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return &failure{code: exitFailed, what: "cannot use " + path, why: err.Error(), err: err}
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !fi.IsDir() || !ok || int(st.Uid) != uid || fi.Mode().Perm()&0o022 != 0 {
		return &failure{
			code: exitFailed, what: "cannot use " + path, why: "it is not a folder that only you can write to",
			todo: "set XDG_RUNTIME_DIR or --runtime-dir",
		}
	}
	return nil
}

func (a *app) socketPath() (string, error) {
	if p := firstOf(a.flags.socket, a.getenv("NINES_SOCKET")); p != "" {
		return absolute(p)
	}
	dir, err := a.runtimePath()
	return filepath.Join(dir, "control.sock"), err
}

// statePath takes supervisor.state_dir of the spec, "" if there is none.
func (a *app) statePath(fromSpec string) (string, error) {
	if p := firstOf(a.flags.stateDir, a.getenv("NINES_STATE_DIR"), fromSpec); p != "" {
		return absolute(p)
	}
	if a.uid == 0 {
		return "/var/lib/nines", nil
	}
	if p := a.getenv("XDG_STATE_HOME"); filepath.IsAbs(p) {
		return filepath.Join(p, "nines"), nil
	}
	home, err := a.home()
	return filepath.Join(home, ".local", "state", "nines"), err
}

// home is HOME, else what the user database says: a service manager may have
// started us without an environment.
func (a *app) home() (string, error) {
	if h := a.getenv("HOME"); filepath.IsAbs(h) {
		return h, nil
	}
	if u, err := user.LookupId(strconv.Itoa(a.uid)); err == nil && filepath.IsAbs(u.HomeDir) {
		return u.HomeDir, nil
	}
	return "", &failure{code: exitFailed, what: "cannot find the state folder", why: "HOME is not set", todo: "set --state-dir"}
}

// logPath takes supervisor.log_dir and state_dir of the spec, "" if there is none.
func (a *app) logPath(fromSpec, stateFromSpec string) (string, error) {
	if p := firstOf(a.flags.logDir, a.getenv("NINES_LOG_DIR"), fromSpec); p != "" {
		return absolute(p)
	}
	if a.uid == 0 {
		return "/var/log/nines", nil
	}
	state, err := a.statePath(stateFromSpec)
	return filepath.Join(state, "log"), err
}

func absolute(path string) (string, error) {
	p, err := filepath.Abs(path)
	if err != nil {
		return "", &failure{code: exitFailed, what: "cannot resolve " + path, why: err.Error(), err: err}
	}
	return p, nil
}

func firstOf(s ...string) string {
	for _, v := range s {
		if v != "" {
			return v
		}
	}
	return ""
}
