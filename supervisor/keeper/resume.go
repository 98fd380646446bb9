package keeper

import (
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"nines/supervisor/notify"
)

// CheckState says whether this program can go on with the state at descriptor 3,
// for one that has CheckFlag, and whether that is of a machine's init.
func CheckState() (machine, ok bool) {
	s, err := readState(3)
	if err != nil {
		WriteLine(2, "cannot go on with the state of the running one: "+err.Error()+": give one of another version")
		return false, false
	}
	return s.machine, true
}

// Resumption is what follows a ResumeFlag: this process was a keeper before it
// became this program.
type Resumption struct {
	state, old int    // descriptors; old -1: there is no way back
	why        string // the program between them went back to us; "": there was none
	s          *oldState

	caught *caught
}

// ReadResumption reads the argument of ResumeFlag, and the state. Where it
// cannot, it goes back to the program before this one, and does not return. It is
// the first thing that is called: where signals are not held, one may end us until
// then. m is for a machine's init.
func ReadResumption(text string, held bool, m *Machine) *Resumption {
	state, rest, _ := strings.Cut(text, " ")
	old, why, _ := strings.Cut(rest, " ")
	r := &Resumption{state: atoi(state), old: atoi(old), why: why}
	r.caught = catch(held)
	r.orGoBack(func() (err error) {
		if r.s, err = readState(r.state); err != nil {
			return err
		}
		if r.s.machine {
			// They were blocked and pending till now.
			r.caught.catchPower(m)
		}
		return fault("read-state")
	})
	return r
}

// orGoBack carries out f; where that fails it goes back.
func (r *Resumption) orGoBack(f func() error) {
	defer func() {
		if v := recover(); v != nil {
			r.GoBack("internal error: " + panicText(v) + whence())
		}
	}()
	if err := f(); err != nil {
		r.GoBack("it cannot go on: " + err.Error())
	}
}

func atoi(s string) int {
	if n, err := strconv.Atoi(s); err == nil {
		return n
	}
	return -1
}

// Machine says whether this process is the init of a machine.
func (r *Resumption) Machine() bool { return r.s.machine }

// Dir is where our programs were installed when the first keeper began.
func (r *Resumption) Dir() string { return r.s.dir }

// GoBack becomes the program before this one again. It does not return: where
// there is no way back, it stays as it is, for what it has begun lives on, and
// the end of PID 1 is the end of the machine.
func (r *Resumption) GoBack(why string) {
	WriteLine(2, "upgrade: "+why)
	if r.old >= 0 {
		inherit([]int{r.old}, false)
		fds := []int{r.state}
		if r.s != nil {
			fds = append(fds, r.s.fds...)
		}
		argv := append([]string{os.Args[0], ResumeFlag, strconv.Itoa(r.state) + " -1 " + why}, os.Args[min(3, len(os.Args)):]...)
		err := kernel{}.become(&program{"/proc/self/fd/" + strconv.Itoa(r.old), -1}, argv, fds)
		WriteLine(2, "cannot go back: "+err.Error()+": nothing is supervised any more; the services go on")
	}
	// Reaping at least.
	for {
		if pid, _ := (kernel{}).ended(); pid != 0 {
			kernel{}.reap(pid)
			continue
		}
		time.Sleep(time.Second)
	}
}

// Resume goes on with what the program before this one kept, until all is over,
// and returns the exit code. o is as for Run, but for what the state holds. It
// is called once in a process, by its main goroutine, after WarmUp.
func Resume(o Options, r *Resumption) int {
	s := r.s
	defer r.caught.stop()
	// A machine's keeper may have to begin anew.
	defer notify.CloseAll([]int{s.lockFD})
	con := newConsole(o.Stderr, o.Verbose)
	defer con.close()
	o.RuntimeDir, o.Dir, o.lockFD, o.Mask = s.runtime, s.dir, s.lockFD, s.mask
	var err error
	if o.Watchdog, err = watchdog(o.Env); err != nil {
		con.say(err.Error())
	}
	var k *keeper
	r.orGoBack(func() error {
		k = o.prepare(con, kernel{s.mask, r.caught.queue})
		if err := k.restore(s); err != nil {
			return err
		}
		return fault("resume")
	})
	// From here on it is ours.
	k.watchSignals(r.caught)
	defer k.stopSignals()
	if s.mask != nil && k.queue == nil {
		// What Go does not unblock by itself one thread takes, and a mask can
		// always be set.
		_ = unix.PthreadSigmask(unix.SIG_SETMASK, s.mask, nil)
	}
	notify.CloseAll([]int{r.state})
	if r.old >= 0 {
		notify.CloseAll([]int{r.old})
	}
	// The name that people know, where it was executed by a descriptor. It is
	// for people alone.
	_ = os.WriteFile("/proc/self/comm", []byte("nines-init"), 0)
	k.guard("reaping", k.reap)
	if r.why != "" {
		k.settle(stateReverted, r.why)
		k.say("upgrade: gone back to " + k.version + ": " + r.why)
	} else {
		k.settle(stateDone, "nines-init "+s.version+" is now "+k.version)
		k.say("upgrade: nines-init " + s.version + " is now " + k.version)
	}
	k.guard("the hardware watchdog", k.noteHardware)
	return k.live()
}

// restore puts the keeper where the state says that it was.
func (k *keeper) restore(s *oldState) error {
	s.store.maxFDs = k.store.maxFDs
	k.store = s.store
	k.power.action = s.action
	k.everReady, k.remembered, k.strangers = s.everReady, s.remembered, s.strangers
	k.manager.isReady, k.manager.isEnd, k.manager.pending = s.manager.isReady, s.manager.isEnd, s.manager.pending
	k.guard("the manager", k.manager.send)
	now, mon := k.sys.now(), k.sys.monotonic()
	at := func(ns int64) time.Time {
		if ns == 0 {
			return time.Time{}
		}
		return now.Add(time.Duration(ns - mon))
	}
	for _, p := range []struct {
		c   *child
		old *oldChild
	}{{&k.sup, &s.sup}, {&k.log, &s.log}} {
		c, old := p.c, p.old
		c.pid, c.generation, c.crashes, c.backoff.failures = old.pid, old.generation, old.crashes, old.failures
		c.readyAt, c.startAt, c.killAt, c.barkAt = at(old.readyAt), at(old.startAt), at(old.killAt), at(old.barkAt)
		c.replacing, c.killWhy = old.replacing, old.killWhy
		c.programs.good, c.programs.now = old.good, old.now
		if old.link < 0 {
			continue
		}
		link, err := newLink(old.link, k.wake)
		if err != nil {
			return err
		}
		c.link = link
	}
	if k.sup.link != nil {
		k.sup.out = &handBack{store: k.store, fds: k.store.named(s.give), keys: s.tell, ended: s.given}
	}
	if k.log.link != nil {
		k.log.out = &pipes{pending: k.store.named(s.pipes)}
	}
	for _, c := range []*child{&k.sup, &k.log} {
		// What is in the sockets, and what they had no room for.
		c.retryAt = now
		if c.link != nil {
			c.link.readable.Store(true)
		}
	}
	select {
	case k.wake <- struct{}{}:
	default:
	}
	k.resumeHardware(s.watchdog.path, s.watchdog.fd, at(s.watchdog.vouched))
	return nil
}

// named returns the descriptors of these names that are still there.
func (s *store) named(names []string) []*storedFD {
	var all []*storedFD
	for _, name := range names {
		if e := s.fds[name]; e != nil {
			all = append(all, e)
		}
	}
	return all
}
