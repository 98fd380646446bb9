package keeper

import (
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
	"nines/supervisor/notify"
)

// Options say what to keep.
type Options struct {
	Supervisor func() []string // argv of the supervisor; asked at each start
	Log        func() []string // argv of the log process; asked at each start
	RuntimeDir string          // absolute; Run fills it in from the place
	Env        []string        // our own
	Args       []string        // our own command line, without the program
	Dir        string          // where our programs were installed
	Version    string          // our own, for people
	Watchdog   time.Duration   // the supervisor must say WATCHDOG=1 within it; 0: it need not
	Verbose    bool
	Machine    *Machine // nil: not the init of a machine
	Hardware   Hardware // nil: there is no watchdog that could be opened
	Device     string   // of Hardware, petted whatever a spec says; "": as a spec says
	Stderr     int      // descriptor
	// Mask is that of blocked signals with which this program began, and children
	// are to begin, where the signals of signals.Held are blocked in all threads; else
	// nil, and children begin with ours.
	Mask   *unix.Sigset_t
	lockFD int
}

// Programs finds the two programs: beside supervisor if that is given (the log
// process else in own), else in own. args follow "supervise". They are looked
// for at each start, because they may be replaced.
func Programs(own, supervisor string, args []string) (sup, log func() []string, err error) {
	path := filepath.Join(own, "nines")
	if supervisor != "" {
		if path, err = filepath.Abs(supervisor); err != nil {
			return nil, nil, refusal("cannot find " + supervisor + ": " + err.Error() + ": give --supervisor an absolute path")
		}
	}
	argv := append([]string{path, "supervise"}, args...)
	beside := filepath.Join(filepath.Dir(path), "nines-log")
	sup = func() []string { return argv }
	log = func() []string {
		if _, err := os.Stat(beside); err != nil {
			return []string{filepath.Join(own, "nines-log")}
		}
		return []string{beside}
	}
	return sup, log, nil
}

// Run keeps the two until all is over, and returns the exit code. It is called
// once in a process, by its main goroutine, after WarmUp.
func Run(o Options, place Place) int {
	// First of all, so that a signal that comes now is remembered.
	c := catch(o.Mask != nil)
	c.catchPower(o.Machine)
	defer c.stop()
	wanted := place.Path
	place, err := place.settle()
	if err != nil {
		WriteLine(o.Stderr, err.Error())
		return 1
	}
	o.RuntimeDir = place.Path
	if o.lockFD, err = lock(place.Path, os.Getpid()); err != nil {
		WriteLine(o.Stderr, err.Error())
		return 1
	}
	// A machine's keeper may have to begin anew.
	defer notify.CloseAll([]int{o.lockFD})
	con := newConsole(o.Stderr, o.Verbose)
	defer con.close()
	if place.Path != wanted {
		con.say("cannot write to " + wanted + ": the runtime directory is " + place.Path + " (--runtime-dir names another)")
	}
	if o.Watchdog, err = watchdog(o.Env); err != nil {
		con.say(err.Error())
	}
	k := o.prepare(con, kernel{o.Mask, c.queue})
	k.watchSignals(c)
	defer k.stopSignals()
	k.begin()
	return k.live()
}

// live keeps until all is over, and returns the exit code.
func (k *keeper) live() int {
	code := k.run()
	k.ending()
	if k.machine != nil && !k.machine.Begun {
		k.close() // another one begins in this process
	}
	return code
}

// prepare makes the keeper of this process.
func (o *Options) prepare(con *console, sys system) *keeper {
	if err := becomeSubreaper(); err != nil {
		con.say("cannot take in orphans: " + err.Error() + ": services that fork twice will not be seen")
	}
	if err := sealInherited(); err != nil {
		con.say("cannot close what was inherited: " + err.Error() + ": services may inherit it too")
	}
	limit, err := descriptorLimit()
	if err != nil {
		con.say("cannot ask for the limit of open files: " + err.Error() + ": 1024 is taken for it")
		limit = 1024
	}
	room := max(0, limit-fdReserve)
	con.say("the limit of " + strconv.Itoa(limit) + " open files allows " + strconv.Itoa(room) +
		` instances, half as many with log.streams = "split" (ulimit -n, LimitNOFILE=)`)
	return newKeeper(*o, sys, con, room)
}

// defaultWatchdog is long beside any turn of a supervisor's loop, and its half,
// at which a supervisor speaks up, is no wake-up to speak of.
const defaultWatchdog = 30 * time.Second

// watchdog is NINES_WATCHDOG: a duration, "0" for none.
func watchdog(env []string) (time.Duration, error) {
	text := getenv(env, "NINES_WATCHDOG")
	switch text {
	case "":
		return defaultWatchdog, nil
	case "0":
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 100*time.Millisecond {
		return defaultWatchdog, refusal("NINES_WATCHDOG=" + text + " is no duration of 100ms or more: " + defaultWatchdog.String() + " it is")
	}
	return d, nil
}
