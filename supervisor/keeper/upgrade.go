package keeper

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"nines/supervisor/notify"
)

// keyUpgrade is how the last upgrade stands: "STATE\t…". The supervisor that
// asks writes it, the keeper changes STATE and may add "\tWHY" at the end, and
// tells the supervisor each time.
const keyUpgrade = "upgrade"

// keyLogs is what the supervisor heard of the log process: one that begins with
// it knows whether that has ended and lost something.
const keyLogs = "logs"

// What STATE may be. The supervisor writes "asked".
const (
	stateAsked    = "asked"
	stateTrying   = "trying"
	stateDone     = "done"
	stateReverted = "reverted"
)

// handOverPatience is how long the supervisor that asked may take to end.
const handOverPatience = 15 * time.Second

// trial is an upgrade of the supervisor, and of the log process where one came
// with it, from the keeper's consent to its verdict.
type trial struct {
	sup, log  *program      // log: nil, it stays as it is
	within    time.Duration // to become READY
	probation time.Duration // to stay so
	begun     bool          // the supervisor that asked has ended
	until     time.Time     // of what it is waiting for; zero: not begun
	late      bool          // only the log process is waited for
	crashes   int           // of the new supervisor
	logFailed int           // of the new log process
}

// fitForChange says why no upgrade can begin; "": one can.
func (k *keeper) fitForChange() string {
	switch {
	case k.trial != nil || k.reexec != nil:
		return "another upgrade is under way"
	case k.asked != 0 || !k.stopAt.IsZero() || k.endSaid || k.finishing || k.over || !k.enforced.IsZero():
		return "it is shutting down"
	}
	return ""
}

// beginUpgrade gives consent, or says why not. The supervisor that asked ends by
// itself when it hears of it. programs are the new supervisor, and maybe a log
// process: they belong to the keeper from here on.
func (k *keeper) beginUpgrade(u upgradeRequest, fds []int) {
	why := k.fitForChange()
	if why != "" {
		notify.CloseAll(fds)
		k.settle(stateReverted, why)
		return
	}
	t := &trial{within: u.within, probation: u.probation}
	path := strings.Clone(u.path)
	t.sup = &program{path, fds[0]}
	if len(fds) > 1 {
		t.log = &program{path[:strings.LastIndexByte(path, '/')+1] + "nines-log", fds[1]}
		if t.log.is(k.log.programs.now) {
			t.log.close()
			t.log = nil
		}
	}
	k.trial = t
	// Whoever could ask for this is good.
	k.sup.programs.lived()
	k.settle(stateTrying, "")
	k.say("upgrade: " + path + " is tried")
	k.killLater(&k.sup, handOverPatience, "it has not made way for "+path)
}

// settle writes down how the upgrade stands and tells the supervisor.
func (k *keeper) settle(state, why string) {
	rest := ""
	if v := k.store.values[keyUpgrade]; v != nil {
		_, rest, _ = strings.Cut(v.value, "\t")
	}
	text := state + "\t" + rest
	if why != "" {
		text += "\t" + why
	}
	if err := k.store.set(keyUpgrade, text[:min(len(text), maxValue)]); err != nil {
		k.say(err.Error())
		return
	}
	k.tell(keyUpgrade)
}

// undecided reports whether the last upgrade has no verdict.
func (k *keeper) undecided() bool {
	v := k.store.values[keyUpgrade]
	if v == nil {
		return false
	}
	state, _, _ := strings.Cut(v.value, "\t")
	return state == stateAsked || state == stateTrying
}

// onTrial reports whether the generation of c that runs, or is started next, is
// one of an upgrade.
func (k *keeper) onTrial(c *child) bool {
	return k.trial != nil && k.trial.begun && c.programs.trial != nil
}

// handOver starts the new ones; the supervisor that asked has ended.
func (k *keeper) handOver() {
	t := k.trial
	t.begun = true
	t.until = k.sys.now().Add(t.within)
	k.sup.programs.trial = t.sup
	k.sup.backoff = backoff{}
	k.sup.startAt = k.sys.now()
	if t.log != nil {
		if k.log.ready() {
			k.log.programs.lived()
		}
		k.log.programs.trial = t.log
		k.replace(&k.log)
		if k.log.pid != 0 {
			// The one that ends says how much it lost; that is known before the
			// next supervisor asks.
			k.sup.startAt = k.sys.now().Add(hangupPatience + time.Second)
		}
	}
}

// replace has the log process started again, from what it is to be started from
// now.
func (k *keeper) replace(c *child) {
	c.backoff = backoff{}
	if c.pid == 0 {
		c.startAt = k.sys.now()
		return
	}
	c.replacing = true
	k.signal(c, unix.SIGTERM) // the log process reads on for what is in the pipes, and ends
	k.killLater(c, hangupPatience, "it has not made way for another")
}

// logReplaced: the old log process has ended.
func (k *keeper) logReplaced(status unix.WaitStatus) {
	k.replaced(&k.log)
	if k.sup.pid != 0 {
		return
	}
	if status.Exited() && status.ExitStatus() == 0 {
		// It read all and wrote all. Deleting cannot fail.
		_ = k.store.set(keyLogs, "")
	}
	k.sup.startAt = k.sys.now()
}

// upgradeAt is when judge or reexecDue is to be called; zero: neither.
func (k *keeper) upgradeAt() time.Time {
	switch {
	case k.trial != nil:
		return k.trial.until
	case k.reexec != nil:
		return k.reexec.until
	}
	return time.Time{}
}

// judge is called when the trial's time is up.
func (k *keeper) judge() {
	t := k.trial
	switch {
	case !k.sup.ready():
		k.revert("it was not ready within " + t.within.String())
	case t.log != nil && (k.log.programs.now != t.log || !k.log.ready()):
		if t.late {
			k.revert("its nines-log was not ready within " + t.within.String())
			return
		}
		t.late, t.until = true, k.sys.now().Add(t.within)
	default:
		k.commit()
	}
}

// commit: the new ones are good.
func (k *keeper) commit() {
	t := k.trial
	k.trial = nil
	for _, c := range []*child{&k.sup, &k.log} {
		if c.programs.trial != nil {
			c.programs.lived()
			c.programs.abandon()
		}
	}
	k.settle(stateDone, "")
	k.say("upgrade: " + t.sup.path + " is what runs from now on")
}

// revert goes back to what was there before.
func (k *keeper) revert(why string) {
	t := k.trial
	k.trial = nil
	k.say("upgrade: " + t.sup.path + " is given up: " + why)
	if !t.begun {
		t.sup.close()
		t.log.close()
		k.settle(stateReverted, why)
		return
	}
	k.settle(stateReverted, why)
	k.sup.backoff = backoff{}
	switch {
	case k.sup.pid == 0:
		k.sup.startAt = k.sys.now()
	case k.sup.ready():
		k.sup.replacing = true
		k.killLater(&k.sup, hangupPatience, "it has not made way") // it was told
	default:
		k.sup.replacing = true
		k.abort(&k.sup) // where it hangs is worth knowing
	}
	k.sup.programs.abandon()
	if k.log.programs.trial != nil {
		k.log.programs.abandon()
		k.replace(&k.log)
	}
}

// dropTrial: all ends, there is nothing to try any more.
func (k *keeper) dropTrial() {
	if t := k.trial; t != nil {
		k.trial = nil
		if !t.begun {
			t.sup.close()
			t.log.close()
		}
		k.sup.programs.abandon()
		k.log.programs.abandon()
	}
}

// trialCrashed counts a death of one on trial; true: it was the last.
func (k *keeper) trialCrashed(c *child, status unix.WaitStatus) bool {
	if !k.onTrial(c) {
		return false
	}
	t, n := k.trial, &k.trial.crashes
	who := "it"
	if c == &k.log {
		n, who = &t.logFailed, "its nines-log"
	} else {
		t.until = k.sys.now().Add(t.within)
	}
	if *n++; *n < crashesAtOnce {
		return false
	}
	k.revert(who + " ended " + strconv.Itoa(*n) + " times at once; at last it " + howEnded(status))
	return true
}

// trialNotStarted gives up one on trial that can never be started.
func (k *keeper) trialNotStarted(c *child, err error) bool {
	switch {
	case !k.onTrial(c), errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOMEM), errors.Is(err, unix.EMFILE),
		errors.Is(err, unix.ENFILE), errors.Is(err, unix.ETXTBSY):
		return false
	}
	k.revert("it cannot be started: " + err.Error())
	return true
}

// upgradeRequest is what X_NINES_UPGRADE says: "WITHIN PROBATION PATH", the two
// in milliseconds.
type upgradeRequest struct {
	path              string // absolute; "": none was asked for
	within, probation time.Duration
}

func parseUpgrade(text string) (upgradeRequest, bool) {
	within, rest, _ := strings.Cut(text, " ")
	probation, path, _ := strings.Cut(rest, " ")
	w, err1 := strconv.ParseUint(within, 10, 31)
	p, err2 := strconv.ParseUint(probation, 10, 31)
	ok := err1 == nil && err2 == nil && w > 0 && len(path) > 1 && path[0] == '/' && len(path) < unix.PathMax
	return upgradeRequest{path, time.Duration(w) * time.Millisecond, time.Duration(p) * time.Millisecond}, ok
}
