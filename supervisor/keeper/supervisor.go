package keeper

import (
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"nines/supervisor/notify"
)

const maxStatus = 4 << 10 // bytes of STATUS= that are passed on

// fromSupervisor carries out one message of the supervisor.
func (k *keeper) fromSupervisor(m notify.Message, fds []int) {
	r := &k.request
	if err := r.read(m, len(fds)); err != nil {
		notify.CloseAll(fds)
		k.say("message from " + k.sup.name + " refused: " + err.Error())
		return
	}
	k.keep(r, fds)
	k.noteShutdown()
	k.noteHardware()
	if r.hasStatus {
		k.manager.status(strings.Clone(r.status[:min(len(r.status), maxStatus)]))
	}
	if r.stopping {
		k.asked = 0 // it knows
		k.manager.stopping()
	}
	if r.end >= 0 && k.onTrial(&k.sup) && !k.sup.ready() {
		k.say(k.sup.name + " said X_NINES_END before it was ready: one that is tried cannot end what runs")
		r.end = -1
	}
	if r.end >= 0 {
		k.asked, k.endSaid, k.code = 0, true, r.end
		k.killLater(&k.sup, endPatience, "it said X_NINES_END and did not exit")
	}
	if r.watchdog || r.ready {
		k.vouch()
	}
	if r.watchdog {
		k.pat(&k.sup)
	}
	if r.ready && k.becameReady(&k.sup) {
		k.pat(&k.sup)
		k.everReady = true
		k.strangers = 0 // it has read and deleted them
		k.manager.ready()
		k.deliver()
		if k.onTrial(&k.sup) {
			k.trial.until = k.sys.now().Add(k.trial.probation)
		}
	}
	switch {
	case r.upgrade.path != "":
		k.beginUpgrade(r.upgrade, fds)
	case r.reexec != "":
		k.beginReexec(r.reexec, fds[0])
	}
}

// keep changes the store.
func (k *keeper) keep(r *request, fds []int) {
	for i, e := range r.names {
		if r.remove {
			k.store.remove(e.name, false)
			continue
		}
		var kept *storedFD
		var err error
		if r.relog {
			kept = k.store.relog(e.name, e.settings)
		} else {
			kept, err = k.store.put(e.name, e.settings, e.log, fds[i])
		}
		if err != nil {
			k.say(err.Error())
			continue
		}
		if p, ok := k.log.out.(*pipes); ok && kept != nil && e.log {
			p.pending = append(p.pending, kept)
		}
	}
	k.forgetExit(r.values)
	for _, v := range r.values {
		if err := k.store.set(v.Key, v.Value); err != nil {
			k.say(err.Error())
		}
		// Later: reaping reads messages, and this one is being read.
		k.syncDue = k.syncDue || v.Key == keySync && v.Value != ""
	}
	if r.put || r.relog {
		k.flush(&k.log)
	}
}

// fromLog carries out one message of the log process, which may do no more
// than say that it is up and that a pipe has ended.
func (k *keeper) fromLog(m notify.Message, fds []int) {
	r := &k.request
	err := r.read(m, len(fds))
	if err == nil && (r.put || r.relog || len(r.values) > 0 || r.end >= 0 || r.upgrade.path != "" || r.reexec != "") {
		err = refusal("it asks for what is the supervisor's alone")
	}
	if err != nil {
		notify.CloseAll(fds)
		k.say("message from " + k.log.name + " refused: " + err.Error())
		return
	}
	for _, e := range r.names {
		if k.store.remove(e.name, true) && k.console.verbose {
			k.note("log pipe " + e.name + " has ended")
		}
	}
	if r.ready {
		k.becameReady(&k.log)
	}
}

// supervisorEnded decides what follows the supervisor's exit.
func (k *keeper) supervisorEnded(status unix.WaitStatus) {
	pid := k.sup.pid
	killed := k.grace && status.Signaled() && status.Signal() == unix.SIGKILL
	k.grace = false
	ready := k.ended(&k.sup, status)
	switch {
	case k.endSaid:
		k.finish(k.code)
	case k.trial != nil && !k.trial.begun:
		k.handOver()
	case k.sup.replacing:
		k.replaced(&k.sup)
	case k.asked != 0 && k.nothingKept():
		// It was told to stop before it had begun.
		code := 0
		if killed {
			code = 1
		}
		k.finish(code)
	default:
		if !k.trialCrashed(&k.sup, status) {
			k.again(&k.sup, pid, status, ready)
		}
	}
}

// logEnded decides what follows the log process's exit.
func (k *keeper) logEnded(status unix.WaitStatus) {
	pid := k.log.pid
	ready := k.ended(&k.log, status)
	if k.finishing {
		if !status.Exited() || status.ExitStatus() != 0 {
			k.say(k.log.name + " " + howEnded(status) + " while stopping")
		}
		k.over = true
		return
	}
	if k.log.replacing {
		k.logReplaced(status)
	} else if !k.trialCrashed(&k.log, status) {
		k.again(&k.log, pid, status, ready)
	}
}

// nothingKept reports whether ending now would leave nothing behind: no
// supervisor was ever up, so none can have started a service.
func (k *keeper) nothingKept() bool { return !k.everReady && k.store.empty() }

// How long the log process has for the end of all pipes, once all is over.
const (
	drainPatience = 2 * time.Second        // then SIGTERM
	termPatience  = 500 * time.Millisecond // then SIGKILL
	killPatience  = time.Second            // then without it: it hangs in the kernel
)

// finish ends the keeper with code, after the log process has read what is
// still in the pipes. The supervisor is gone.
func (k *keeper) finish(code int) {
	k.code, k.finishing = code, true
	k.dropTrial()
	k.sup.startAt = time.Time{}
	k.manager.stopping()
	if k.log.pid == 0 {
		k.log.startAt = time.Time{}
		if len(k.store.listed(true)) > 0 {
			// It died before: once more, for what is in the pipes.
			k.start(&k.log)
			k.log.startAt = time.Time{}
		}
	}
	if k.log.pid == 0 {
		k.over = true
		return
	}
	k.log.killAt = time.Time{}
	k.finishAt = k.sys.now().Add(drainPatience)
	if p, ok := k.log.out.(*pipes); ok {
		p.stopping = true
	}
	k.flush(&k.log)
}

// hurry is called when the log process has not ended in time.
func (k *keeper) hurry() {
	now := k.sys.now()
	switch k.hurried++; k.hurried {
	case 1:
		k.say(k.log.name + " has not ended in " + drainPatience.String() + ": somebody holds a log pipe open; it is told to stop reading")
		k.signal(&k.log, unix.SIGTERM)
		k.finishAt = now.Add(termPatience)
	case 2:
		k.log.killWhy = "it did not end"
		k.kill(&k.log)
		k.finishAt = now.Add(killPatience)
	default:
		k.finishAt = time.Time{}
		k.over = true
	}
}
