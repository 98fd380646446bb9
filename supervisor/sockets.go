package supervisor

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"nines/spec"
	"nines/supervisor/journal"
	"nines/supervisor/listen"
	"nines/supervisor/notify"
	"nines/supervisor/proc"
)

// bindPatience bounds the lookup of host names in listen blocks: all of them
// when the supervisor begins, those of one service later.
const bindPatience = 2 * time.Second

// firstListenFD is SD_LISTEN_FDS_START.
const firstListenFD = 3

// inherited are the listen blocks whose socket all instances of a service
// share; the others are not in effect yet, as `nines check` says.
func inherited(svc *spec.Service) []spec.Listen {
	var list []spec.Listen
	for _, l := range svc.Listen {
		if l.Share == "inherit" && !strings.HasPrefix(l.Address, "udp:") {
			list = append(list, l)
		}
	}
	return list
}

// setListenEnv tells a service of its sockets as sd_listen_fds(3) wants it, but
// for LISTEN_PID, which the shim adds. What the spec or our own environment say
// of sockets would be of others.
func setListenEnv(env map[string]string, list []spec.Listen) {
	names := make([]string, len(list))
	for i, l := range list {
		names[i] = l.Name
		env["NINES_FD_"+l.Name] = strconv.Itoa(firstListenFD + i)
	}
	delete(env, "LISTEN_PID")
	delete(env, "LISTEN_PIDFDID")
	env["LISTEN_FDS"] = strconv.Itoa(len(list))
	env["LISTEN_FDNAMES"] = strings.Join(names, ":")
}

// sockets are the listening sockets of all services. Each is bound once, before
// anything of its service is started, and is open here and in the keeper's store
// from then on, whatever becomes of the service and of us. One that cannot be
// bound fails the starts of its service, as if the service had tried to bind it:
// it is tried again with each of them, at their backoff.
//
// Run owns it until the spawner runs, then the spawner, then Run again.
type sockets struct {
	s     *Supervisor
	users *userCache
	open  map[string]*socket // by name in the store
}

type socket struct {
	listen.Socket
	addr    spec.ListenAddress
	address string // as the block has it
}

func newSockets(s *Supervisor, users *userCache) *sockets {
	return &sockets{s: s, users: users, open: map[string]*socket{}}
}

// storeName is what the keeper knows a socket by; its value has the same key.
func storeName(svc *spec.Service, l spec.Listen) string { return keyListen + svc.Name + "/" + l.Name }

// begin takes over what the keeper handed back, drops what no block wants any
// more, and binds the rest of what enabled services listen on.
func (ss *sockets) begin() {
	ss.users.refresh()
	ctx, cancel := context.WithTimeout(context.Background(), bindPatience)
	defer cancel()
	cfg := &ss.s.cfg
	back := maps.Clone(cfg.Sockets)
	var missing []func()
	for _, svc := range cfg.Spec.Services {
		for _, l := range inherited(svc) {
			name := storeName(svc, l)
			if fd, ok := back[name]; ok {
				delete(back, name)
				if ss.take(name, svc, l, fd) {
					continue
				}
			}
			if svc.Enabled {
				missing = append(missing, func() {
					if _, err := ss.bind(ctx, name, l); err != nil && ss.lives(svc) {
						// Nothing of it is about to start, and so to say it.
						ss.note(svc, err.Error())
					}
				})
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(back)) {
		ss.drop(name, back[name])
	}
	// Last: what was dropped may have had an address that another block has now.
	for _, bind := range missing {
		bind()
	}
}

// lives says whether an earlier supervisor left an instance of it.
func (ss *sockets) lives(svc *spec.Service) bool {
	for id, m := range ss.s.cfg.Past.Slots {
		if of, _, _ := strings.Cut(id, "/"); of == svc.Name && m.Lives() {
			return true
		}
	}
	return false
}

func (ss *sockets) note(svc *spec.Service, text string) {
	ss.s.log.Warn(text, "service", svc.Name)
	ss.s.note(journal.Entry{Kind: journal.KindListenFailed, Service: svc.Name, Text: text})
}

// take keeps a socket that was handed back, if it is what the block wants.
func (ss *sockets) take(name string, svc *spec.Service, l spec.Listen, fd int) bool {
	addr, err := spec.ParseListen(l.Address)
	id, was, _ := strings.Cut(ss.s.cfg.Past.Sockets[name], " ")
	if err == nil {
		err = listen.Check(fd, id, addr)
	}
	if err != nil {
		ss.drop(name, fd)
		ss.note(svc, err.Error()+": it is bound anew")
		return false
	}
	if was != l.Address {
		// The same socket, of another mode or user.
		owner, err := ss.owner(addr)
		if err == nil && addr.Network == "unix" {
			err = listen.Own(addr, owner)
		}
		if err != nil {
			ss.drop(name, fd)
			ss.note(svc, err.Error()+": it is bound anew")
			return false
		}
		ss.record(name, l.Address, listen.Socket{FD: fd, ID: id}, notify.Message{})
	}
	ss.open[name] = &socket{listen.Socket{FD: fd, ID: id}, addr, l.Address}
	return true
}

// drop gives up a socket of the store, and its file.
func (ss *sockets) drop(name string, fd int) {
	proc.Close(fd)
	m := notify.Message{notify.FDStoreRemove(), notify.FDName(name)}
	id, was, _ := strings.Cut(ss.s.cfg.Past.Sockets[name], " ")
	if strings.HasPrefix(name, keyListen) {
		m = append(m, notify.Value(name, ""))
	}
	ss.tell(name, m, nil)
	addr, err := spec.ParseListen(was)
	if err != nil {
		return // nothing is known of it
	}
	if err := listen.Remove(addr, id); err != nil {
		ss.s.log.Warn(err.Error())
	}
}

// apply makes them what another specification wants. What keeps its name and its
// address stays open, and nobody is refused.
func (ss *sockets) apply(sp *spec.Spec) {
	ctx, cancel := context.WithTimeout(context.Background(), bindPatience)
	defer cancel()
	type wanted struct {
		svc *spec.Service
		l   spec.Listen
	}
	want := map[string]wanted{}
	for _, svc := range sp.Services {
		for _, l := range inherited(svc) {
			want[storeName(svc, l)] = wanted{svc, l}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(ss.open)) {
		w, ok := want[name]
		if sock := ss.open[name]; !ok || sock.address != w.l.Address && !ss.change(name, sock, w.l) {
			ss.release(name, sock)
		}
	}
	// Last: what was released may have had an address that another block has now.
	for _, name := range slices.Sorted(maps.Keys(want)) {
		w := want[name]
		if ss.open[name] == nil && w.svc.Enabled {
			if _, err := ss.bind(ctx, name, w.l); err != nil {
				ss.note(w.svc, err.Error())
			}
		}
	}
}

// change gives a unix socket that stays where it is another mode or user; false:
// it has to be bound anew.
func (ss *sockets) change(name string, sock *socket, l spec.Listen) bool {
	addr, err := spec.ParseListen(l.Address)
	if err != nil || addr.Network != "unix" || sock.addr.Network != "unix" || addr.Path != sock.addr.Path {
		return false
	}
	owner, err := ss.owner(addr)
	if err == nil {
		err = listen.Own(addr, owner)
	}
	if err != nil {
		ss.s.log.Warn(err.Error())
		return false
	}
	sock.addr, sock.address = addr, l.Address
	ss.record(name, l.Address, sock.Socket, notify.Message{})
	return true
}

// release gives up a socket that is open, and its file.
func (ss *sockets) release(name string, sock *socket) {
	delete(ss.open, name)
	proc.Close(sock.FD)
	ss.tell(name, notify.Message{notify.FDStoreRemove(), notify.FDName(name), notify.Value(name, "")}, nil)
	if err := listen.Remove(sock.addr, sock.ID); err != nil {
		ss.s.log.Warn(err.Error())
	}
}

// of returns the sockets of a service, in the order of their blocks.
func (ss *sockets) of(svc *spec.Service) ([]int, error) {
	list := inherited(svc)
	if len(list) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), bindPatience)
	defer cancel()
	fds := make([]int, len(list))
	for i, l := range list {
		name := storeName(svc, l)
		sock := ss.open[name]
		if sock == nil {
			var err error
			if sock, err = ss.bind(ctx, name, l); err != nil {
				return nil, err
			}
		}
		fds[i] = sock.FD
	}
	return fds, nil
}

// bind makes a socket and gives the keeper a copy. Errors are of type
// *proc.Error.
func (ss *sockets) bind(ctx context.Context, name string, l spec.Listen) (*socket, error) {
	addr, err := spec.ParseListen(l.Address)
	if err != nil {
		return nil, &proc.Error{Step: proc.StepListen, Path: l.Address, Err: err}
	}
	owner, err := ss.owner(addr)
	if err != nil {
		return nil, err
	}
	sock, err := listen.Bind(ctx, addr, owner)
	if err != nil {
		return nil, asProcError(l.Address, err)
	}
	ss.open[name] = &socket{sock, addr, l.Address}
	ss.record(name, l.Address, sock, notify.Message{notify.FDStore(), notify.FDName(name)})
	return ss.open[name], nil
}

// asProcError is a socket that cannot be bound as a step of a start.
func asProcError(address string, err error) *proc.Error {
	e := &proc.Error{Step: proc.StepListen, Path: address, Err: err}
	var why *listen.Error
	if errors.As(err, &why) {
		e.Why, e.Err = why.Why, nil
		if why.Errno != 0 {
			e.Err = why.Errno
		}
	}
	return e
}

// record has the keeper remember what a socket is, beside m.
func (ss *sockets) record(name, address string, sock listen.Socket, m notify.Message) {
	var fds []int
	if len(m) > 0 {
		fds = []int{sock.FD}
	}
	ss.tell(name, append(m, notify.Value(name, sock.ID+" "+address)), fds)
}

// tell is of the keeper: without it the socket lives as long as we do.
func (ss *sockets) tell(name string, m notify.Message, fds []int) {
	if err := ss.s.cfg.Keeper.Send(m.Append(nil), fds); err != nil {
		ss.s.log.Error("cannot record with the keeper: a successor would bind it anew", "socket", name, "err", err)
	}
}

// owner is who a unix socket is to belong to, with the group that user has.
func (ss *sockets) owner(addr spec.ListenAddress) (*listen.Owner, error) {
	if addr.User == "" {
		return nil, nil
	}
	u, err := ss.users.lookup(addr.User, "", nil)
	if err != nil {
		return nil, err
	}
	return &listen.Owner{UID: u.UID, GID: u.GID}, nil
}

// remove removes the files of unix sockets: everything has ended, and nobody is
// to find the door of an empty house.
func (ss *sockets) remove() {
	for _, name := range slices.Sorted(maps.Keys(ss.open)) {
		sock := ss.open[name]
		if err := listen.Remove(sock.addr, sock.ID); err != nil {
			ss.s.log.Warn(err.Error())
		}
	}
}
