package supervisor

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"nines/spec"
	"nines/spec/load"
	"nines/supervisor/proc"
	"nines/supervisor/release"
)

// defaultPath is a service's PATH where the spec sets none.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// resolver turns a service and an index into a command. The spawner owns it.
type resolver struct {
	output  output
	mark    string
	inherit bool
	environ map[string]string // ours, without what is ours alone
	env     map[string]string // env.NAME in expressions
	host    *load.Host        // nil: unreadable; an expression that asks for it fails then
	units   map[unitKey]*unit
	store   *release.Store            // nil: there is none
	ports   map[string]map[string]int // by instance id; kept over restarts
	users   userCache
}

// unitKey is a service and the release that it runs, as its id.
type unitKey struct {
	svc     *spec.Service
	release string
}

// unit is what is the same for every instance of a service.
type unit struct {
	command  *load.Compiled
	argv     []string          // when command does not depend on the instance
	env      *load.Compiled    // nil: none
	envFixed map[string]string // when env does not
	dir      *load.Compiled
	dirFixed string
}

func newResolver(cfg Config, mark string) *resolver {
	r := &resolver{
		output: output{dir: cfg.LogDir, stdout: cfg.Stdout}, mark: mark, inherit: cfg.InheritEnv,
		environ: map[string]string{}, env: map[string]string{},
		units: map[unitKey]*unit{}, store: cfg.Releases, ports: cfg.Past.Ports,
	}
	if r.ports == nil {
		r.ports = map[string]map[string]int{}
	}
	var err error
	if r.host, err = load.ThisHost(); err != nil {
		cfg.Log.Warn("cannot tell what host.* is", "err", err)
	}
	for _, kv := range cfg.Environ {
		k, v, _ := strings.Cut(kv, "=")
		r.env[k] = v
		if !ours(k) {
			r.environ[k] = v
		}
	}
	return r
}

// apply forgets what was of another specification, and the ports of services that
// are no more.
func (r *resolver) apply(s *Supervisor, sp *spec.Spec) {
	clear(r.units)
	names := map[string]bool{}
	for _, svc := range sp.Services {
		names[svc.Name] = true
	}
	for id := range r.ports {
		if name, _, _ := strings.Cut(id, "/"); !names[name] {
			delete(r.ports, id)
			s.tellPorts(id, nil)
		}
	}
}

func (r *resolver) getenv(name string) (string, bool) {
	v, ok := r.env[name]
	return v, ok
}

// ours says which variables of the supervisor's own environment never reach a
// service, also where it inherits: they would let it speak for the supervisor,
// or take sockets for its own.
func ours(key string) bool {
	switch key {
	case "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_PIDFDID", "MAINPID":
		return true
	}
	return strings.HasPrefix(key, "NINES_")
}

func (r *resolver) scope(svc *spec.Service, id string, index int, ports map[string]int) *load.Scope {
	sc := &load.Scope{Service: svc.Name, Index: index, Ports: ports, Env: r.getenv, Host: r.host}
	if svc.Release != nil {
		sc.ReleasePath = svc.Release.Path
		if id != "" {
			sc.ReleasePath, sc.ReleaseID = r.store.Path(id, svc.Release.Path), id
		}
	}
	return sc
}

// released turns what of a command is at release.path into the release.
func (r *resolver) released(svc *spec.Service, id string, argv []string) []string {
	if svc.Release == nil || id == "" {
		return argv
	}
	argv = slices.Clone(argv)
	for i, arg := range argv {
		if path, ok := r.store.Resolve(arg, svc.Release.Path, id); ok {
			argv[i] = path
		}
	}
	return argv
}

// verify says whether a release is what was snapshotted, before it is first used.
func (r *resolver) verify(id string) error {
	if id == "" || r.store.Verified(id) {
		return nil
	}
	_, err := r.store.Verify(context.Background(), id)
	return err
}

func (r *resolver) unit(svc *spec.Service, id string) (*unit, error) {
	key := unitKey{svc, id}
	if u := r.units[key]; u != nil {
		return u, nil
	}
	u := &unit{}
	var err error
	sc := r.scope(svc, id, 0, nil)
	if u.command, err = load.Compile(svc.Process.Command); err != nil {
		return nil, err
	}
	if !u.command.PerInstance() {
		if u.argv, err = u.command.Strings(sc); err != nil {
			return nil, err
		}
	}
	if svc.Process.Env != "" {
		if u.env, err = load.Compile(svc.Process.Env); err != nil {
			return nil, err
		}
		if !u.env.PerInstance() {
			if u.envFixed, err = u.env.Map(sc); err != nil {
				return nil, err
			}
		}
	}
	if svc.Process.Directory != "" {
		if u.dir, err = load.Compile(svc.Process.Directory); err != nil {
			return nil, err
		}
		if !u.dir.PerInstance() {
			if u.dirFixed, err = u.dir.String(sc); err != nil {
				return nil, err
			}
		}
	}
	r.units[key] = u
	return u, nil
}

// main is the command of an incarnation's main process.
func (r *resolver) main(in *incarnation) (*proc.Command, map[string]int, error) {
	ports, err := r.instancePorts(in.svc, in.id, in.index, true)
	if err != nil {
		return nil, nil, err
	}
	if err := r.verify(in.release); err != nil {
		return nil, nil, err
	}
	c, err := r.command(in.svc, in.release, in.index, in.id, in.name, in.revision, ports, nil, 0)
	return c, ports, err
}

// hook is the command of a stop or reload command.
func (r *resolver) hook(h *hookRun) (*proc.Command, error) {
	ports, err := r.instancePorts(h.in.svc, h.in.id, h.in.index, false)
	if err != nil {
		return nil, err
	}
	return r.command(h.in.svc, h.in.release, h.in.index, h.in.id, h.name, h.in.revision, ports, evaluated(h.command), h.mainPID)
}

// exec is the command of an exec check.
func (r *resolver) exec(x *execRun) (*proc.Command, error) {
	in := x.t.in
	ports, err := r.instancePorts(in.svc, in.id, in.index, false)
	if err != nil {
		return nil, err
	}
	return r.command(in.svc, in.release, in.index, in.id, x.name, in.revision, ports, evaluated(x.t.block.Exec.Command), x.mainPID)
}

// beside is the command of a service that is run while nothing of it lives: with the
// environment, the folder and the rights that its first instance has.
func (r *resolver) beside(svc *spec.Service, released, name string, revision int, argv []string) (*proc.Command, error) {
	id := svc.Name + "/0"
	ports, err := r.instancePorts(svc, id, 0, false)
	if err != nil {
		return nil, err
	}
	if err := r.verify(released); err != nil {
		return nil, err
	}
	return r.command(svc, released, 0, id, name, revision, ports, func(*load.Scope) ([]string, error) { return argv, nil }, 0)
}

// evaluated is a command that depends on the instance.
func evaluated(e spec.Expr) func(*load.Scope) ([]string, error) {
	return func(sc *load.Scope) ([]string, error) { return load.Strings(e, sc) }
}

// command resolves what to run: the service's own command, or instead of it.
func (r *resolver) command(
	svc *spec.Service, released string, index int, id, name string, revision int, ports map[string]int,
	instead func(*load.Scope) ([]string, error), mainPID int,
) (*proc.Command, error) {
	u, err := r.unit(svc, released)
	if err != nil {
		return nil, err
	}
	sc := r.scope(svc, released, index, ports)
	c := &proc.Command{Argv: u.argv, Dir: u.dirFixed}
	switch {
	case instead != nil:
		if c.Argv, err = instead(sc); err != nil {
			return nil, err
		}
	case c.Argv == nil:
		if c.Argv, err = u.command.Strings(sc); err != nil {
			return nil, err
		}
	}
	c.Argv = r.released(svc, released, c.Argv)
	if c.Dir == "" && u.dir != nil {
		if c.Dir, err = u.dir.String(sc); err != nil {
			return nil, err
		}
	}
	p := &svc.Process
	user, err := r.users.lookup(p.User, p.Group, p.Groups)
	if err != nil {
		return nil, err
	}
	if p.User != "" || p.Group != "" || len(p.Groups) > 0 {
		c.Credential = &user.Credential
	}
	c.Umask, c.Nice, c.OOMScoreAdj, c.Rlimits = p.Umask, p.Nice, p.OOMScoreAdj, p.Rlimits

	env := make(map[string]string, 24)
	inherit := r.inherit
	if p.InheritEnv != nil {
		inherit = *p.InheritEnv
	}
	if inherit {
		maps.Copy(env, r.environ)
	}
	// The user's own record wins over what is inherited from another user.
	if !inherit || p.User != "" {
		env["HOME"], env["USER"], env["LOGNAME"], env["SHELL"] = user.Home, user.Name, user.Name, user.Shell
	}
	if env["PATH"] == "" {
		env["PATH"] = defaultPath
	}
	if u.envFixed != nil {
		maps.Copy(env, u.envFixed)
	} else if u.env != nil {
		m, err := u.env.Map(sc)
		if err != nil {
			return nil, err
		}
		maps.Copy(env, m)
	}
	if p.EnvFile != "" {
		m, err := r.envFile(p.EnvFile, sc)
		if err != nil {
			return nil, err
		}
		maps.Copy(env, m) // as in systemd: the file wins over env
	}
	env["NINES_SERVICE"] = svc.Name
	env["NINES_INSTANCE"] = strconv.Itoa(index)
	env["NINES_INSTANCE_ID"] = id
	env["NINES_REVISION"] = strconv.Itoa(revision)
	env["NINES_ROLE"] = "active"
	env["NINES_INCARNATION"] = r.mark + name
	if list := inherited(svc); len(list) > 0 && instead == nil {
		setListenEnv(env, list)
	}
	for port, n := range ports {
		env["NINES_PORT_"+port] = strconv.Itoa(n)
	}
	if mainPID != 0 {
		env["MAINPID"] = strconv.Itoa(mainPID)
	}
	c.Env = make([]string, 0, len(env))
	for k, v := range env {
		c.Env = append(c.Env, k+"="+v)
	}
	slices.Sort(c.Env)
	return c, nil
}

// envFile reads the service's env_file. As in systemd, a leading "-" says that
// the file may be missing.
func (r *resolver) envFile(e spec.Expr, sc *load.Scope) (map[string]string, error) {
	path, err := load.String(e, sc)
	if err != nil {
		return nil, err
	}
	return load.EnvFile(path)
}

// instancePorts gives an instance its ports: base + index, or a free one, which
// it keeps over restarts as long as nobody else takes it meanwhile.
func (r *resolver) instancePorts(svc *spec.Service, id string, index int, check bool) (map[string]int, error) {
	if len(svc.Ports) == 0 {
		return nil, nil
	}
	have := r.ports[id]
	if have == nil {
		have = map[string]int{}
		r.ports[id] = have
	}
	for _, p := range svc.Ports {
		if p.Base != 0 {
			have[p.Name] = p.Base + index
			continue
		}
		if n := have[p.Name]; n != 0 && (!check || portFree(n)) {
			continue
		}
		n, err := r.freePort()
		if err != nil {
			return nil, fmt.Errorf("cannot find a free port for %s: %w", id, err)
		}
		have[p.Name] = n
	}
	return have, nil
}

// portTries bounds the search for a port that no other instance was given.
const portTries = 128

func (r *resolver) freePort() (int, error) {
	for range portTries {
		l, err := net.Listen("tcp", ":0")
		if err != nil {
			return 0, err
		}
		n := l.Addr().(*net.TCPAddr).Port
		if err := l.Close(); err != nil {
			return 0, err
		}
		if !r.given(n) {
			return n, nil
		}
	}
	return 0, fmt.Errorf("the kernel offered only ports that other instances have, %d times", portTries)
}

func (r *resolver) given(n int) bool {
	for _, m := range r.ports {
		for _, have := range m {
			if have == n {
				return true
			}
		}
	}
	return false
}

func portFree(n int) bool {
	l, err := net.Listen("tcp", ":"+strconv.Itoa(n))
	if err != nil {
		return false
	}
	// The port was free a moment ago; what closing it could report changes nothing.
	_ = l.Close()
	return true
}

// userCache remembers looked-up users until the databases change.
type userCache struct {
	stamp string
	users map[string]*proc.User
}

// refresh forgets what was looked up in databases that have changed; the
// spawner calls it once a batch.
func (c *userCache) refresh() {
	stamp := fileStamp("/etc/passwd") + fileStamp("/etc/group")
	if c.users == nil || c.stamp != stamp {
		c.stamp, c.users = stamp, map[string]*proc.User{}
	}
}

func (c *userCache) lookup(user, group string, groups []string) (*proc.User, error) {
	key := user + "\x00" + group + "\x00" + strings.Join(groups, "\x00")
	if u := c.users[key]; u != nil {
		return u, nil
	}
	u, err := proc.LookupUser(user, group, groups)
	if err != nil {
		return nil, err
	}
	c.users[key] = u
	return u, nil
}

func fileStamp(path string) string {
	fi, err := os.Stat(path)
	if err != nil {
		return "-" // FROM scratch: there is none; lookups by number still work
	}
	return fi.ModTime().String() + strconv.FormatInt(fi.Size(), 10) + "|"
}
