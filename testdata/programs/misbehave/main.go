// Command misbehave is a service that behaves badly in a chosen way, for the
// tests of what supervises it.
//
//	misbehave MODE [ARGUMENT]…
//
// A mode that lasts first prints one line, "misbehave MODE PID", so that a
// test can wait for it; one that leaves another process behind then prints
// "left PID". Durations are as "1.5s".
//
//	exit CODE [AFTER]      exits with CODE, at once or after a time
//	crash SIGNAL [AFTER]   ends by that signal (SEGV, ABRT, KILL, …)
//	ignore-term            ignores every signal that can be ignored
//	slow-term AFTER        on SIGTERM goes on for a time, then exits 0
//	daemon                 forks twice, into a session of its own, and exits 0;
//	                       the daemon goes on and holds standard output
//	setsid                 goes on beside a child in a session of its own
//	leave [CODE]           exits, leaving a child in its session that holds
//	                       standard output
//	clear-env              exits 0, leaving a child in its session with an empty
//	                       environment
//	clear-all              goes on beside a child with an empty environment in a
//	                       session of its own: only its parent gives it away
//	forkbomb N [setsid]    it and all its children start children as fast as
//	                       they can until there have been N in all, then go on;
//	                       setsid: each in a session of its own
//	spin [THREADS]         uses whole CPUs
//	leak BYTES MAX [EVERY] takes BYTES every 10 ms (EVERY) and touches them, up to
//	                       MAX
//	sawtooth LOW HIGH PERIOD
//	                       grows from LOW to HIGH bytes in that time, gives back
//	                       what is above LOW, and so on
//	flood [LINES]          numbered lines as fast as they go; without LINES for
//	                       ever, else it exits 0 after them
//	hang                   does nothing at all, not even say its line
//	stop                   stops itself by SIGSTOP
//	print partial|binary|long [BYTES]
//	                       text without a newline; all byte values; one line of
//	                       BYTES (default 1 MiB). Then it goes on
//	echo TEXT…             prints each as a line on standard output, and to
//	                       standard error with "err: " before it; exits 0
//	env                    prints its environment, a line each; then it goes on
//	http                   serves on 127.0.0.1:$NINES_PORT_http: / answers JSON
//	                       with pid, instance, service, incarnation; /exit?code=N
//	                       exits, /hang does not answer, /status?code=N answers N
//	ill                    serves likewise: /healthz answers until /be?what=…
//	                       makes it ill (stop, deadlock, spin, pause, slow,
//	                       errors, refuse; see ill), /metrics counts
//	listen [drain [BYTES AFTER]]
//	                       answers a line with a line of words on each socket that
//	                       it was given as sd_listen_fds(3) has it: socket NAME,
//	                       pid, instance, the sockets' names and the descriptor
//	                       that NINES_FD_NAME says. It checks LISTEN_PID. drain:
//	                       on SIGTERM it answers whom it has accepted, and exits 0;
//	                       AFTER a time it takes BYTES
//	listen while FILE CODE likewise, and when FILE is not there it answers whom it
//	                       has accepted, and exits with CODE
//	ask NETWORK ADDRESS N  connects and asks N times, one after the other, and
//	                       prints each answer; exits 1 if it was refused
//	ask NETWORK ADDRESS until FILE
//	                       goes on until FILE exists, then prints "asked N lost M
//	                       pids P" and how long they took; lost are those accepted
//	                       and not answered. Exits 1 if it was refused
//	known FOLDER           goes on with a file, sockets, a mapping and a thread whose
//	                       places are known, see known; it says "misbehave known
//	                       PID", where it listens and where it is connected from
//	fuse FOLDER FILE       mounts a filesystem that does not answer; FILE gets its
//	                       pid, see fuse
//	notify STEP…           does these in order, then goes on: "KEY=VALUE|…" (sends
//	                       that to $NOTIFY_SOCKET), child:FIELDS (by a process that
//	                       has ended), to:SOCKET, wait:FILE, store:NAME:TEXT,
//	                       store-pipe:NAME, stored:FILE, barrier, main, fd:N:TEXT,
//	                       close:N, beat:EVERY, reload:FILE, term:FIELDS:FILE,
//	                       flood:N:FIELDS, exit:CODE; see there
//	report FILE [stay]     writes what it was started with (arguments,
//	                       environment, descriptors, limits, ids, signals, …) to
//	                       FILE as JSON, see Report; then exits 0, or goes on
package main

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	if len(os.Args) < 2 {
		fail("usage: misbehave MODE [ARGUMENT]…; the modes are in its documentation")
	}
	mode, args := os.Args[1], os.Args[2:]
	run, ok := modes()[mode]
	if !ok {
		fail("no such mode: " + mode)
	}
	run(args)
}

// modes are what the documentation lists; those that begin with a dot are the
// children of others.
func modes() map[string]func(args []string) {
	return map[string]func([]string){
		"exit":        exit,
		"crash":       crash,
		"ignore-term": ignoreTerm,
		"slow-term":   slowTerm,
		"daemon":      daemon,
		"setsid":      func([]string) { say(); left(child(true, os.Environ(), ".sleep")); forever() },
		"leave":       leave,
		"env":         environment,
		"clear-env":   func([]string) { left(child(false, []string{}, ".sleep")) },
		"clear-all":   func([]string) { say(); left(child(true, []string{}, ".sleep")); forever() },
		"forkbomb":    forkbomb,
		"spin":        spin,
		"leak":        leak,
		"sawtooth":    sawtooth,
		"flood":       flood,
		"hang":        func([]string) { forever() },
		"stop":        func([]string) { say(); check(unix.Kill(os.Getpid(), unix.SIGSTOP)); forever() },
		"print":       printOdd,
		"echo":        echo,
		"http":        serve,
		"ill":         ill,
		"listen":      listen,
		"ask":         ask,
		"report":      report,
		"known":       known,
		"notify":      notify,
		"fuse":        fuse,
		".say":        func(args []string) { (&notifier{to: os.Getenv("NOTIFY_SOCKET")}).send(args[0]) },
		".sleep":      func([]string) { forever() },
		".daemon":     func([]string) { left(child(false, os.Environ(), ".sleep")) },
		".bomb":       bomb,
	}
}

func fail(why string) {
	fmt.Fprintln(os.Stderr, "misbehave: "+why)
	os.Exit(2)
}

func check(err error) {
	if err != nil {
		fail(err.Error())
	}
}

// say prints the line that a test waits for.
func say() { fmt.Println("misbehave", os.Args[1], os.Getpid()) }

func left(pid int) { fmt.Println("left", pid) }

// forever waits without being a deadlock to the runtime.
func forever() {
	for {
		time.Sleep(time.Hour)
	}
}

func arg(args []string, i int, otherwise string) string {
	if i < len(args) {
		return args[i]
	}
	return otherwise
}

func integer(s string) int {
	n, err := strconv.Atoi(s)
	check(err)
	return n
}

func pause(s string) {
	d, err := time.ParseDuration(s)
	check(err)
	time.Sleep(d)
}

// child starts this program in another mode.
func child(session bool, env []string, mode string, args ...string) int {
	self, err := os.Executable()
	check(err)
	pid, err := syscall.ForkExec(self, append([]string{"misbehave", mode}, args...), &syscall.ProcAttr{
		Env:   env,
		Files: []uintptr{0, 1, 2},
		Sys:   &syscall.SysProcAttr{Setsid: session},
	})
	check(err)
	return pid
}

func exit(args []string) {
	code := integer(arg(args, 0, "0"))
	if len(args) > 1 {
		say()
		pause(args[1])
	}
	os.Exit(code)
}

func crash(args []string) {
	sig := unix.SignalNum("SIG" + strings.TrimPrefix(arg(args, 0, "ABRT"), "SIG"))
	if sig == 0 {
		fail("no such signal")
	}
	if len(args) > 1 {
		say()
		pause(args[1])
	}
	// The runtime would turn most signals into a traceback and exit status 2.
	signal.Reset(sig)
	check(defaultAction(sig))
	check(unix.Kill(os.Getpid(), sig))
	forever()
}

func ignoreTerm([]string) {
	for sig := syscall.Signal(1); sig < 32; sig++ {
		if sig != unix.SIGKILL && sig != unix.SIGSTOP && sig != unix.SIGCHLD && sig != unix.SIGURG {
			signal.Ignore(sig)
		}
	}
	say()
	forever()
}

func slowTerm(args []string) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, unix.SIGTERM)
	say()
	<-c
	pause(arg(args, 0, "1s"))
}

// daemon is the classic: the first child leads a session, its child cannot get
// a terminal any more, and both parents are gone.
func daemon([]string) {
	pid := child(true, os.Environ(), ".daemon")
	var ws unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &ws, 0, nil)
		if err != unix.EINTR {
			check(err)
			return
		}
	}
}

func environment([]string) {
	for _, kv := range os.Environ() {
		fmt.Println(kv)
	}
	forever()
}

func leave(args []string) {
	left(child(false, os.Environ(), ".sleep"))
	os.Exit(integer(arg(args, 0, "0")))
}

// bombFD holds as many bytes as may still be started. Reading one is the right
// to start one more.
const bombFD = 3

func forkbomb(args []string) {
	n := integer(arg(args, 0, "100"))
	var p [2]int
	check(unix.Pipe2(p[:], unix.O_NONBLOCK))
	if n > 60000 {
		fail("at most 60000")
	}
	_, err := unix.Write(p[1], make([]byte, n))
	check(err)
	check(unix.Close(p[1]))
	if p[0] != bombFD {
		check(unix.Dup3(p[0], bombFD, 0))
		check(unix.Close(p[0]))
	}
	say()
	bomb(args)
}

func bomb(args []string) {
	self, err := os.Executable()
	check(err)
	var b [1]byte
	for {
		n, err := unix.Read(bombFD, b[:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			forever()
		}
		// A bomb does not mind that it could not start one more.
		_, _ = syscall.ForkExec(self, append([]string{"misbehave", ".bomb"}, args...), &syscall.ProcAttr{
			Env:   os.Environ(),
			Files: []uintptr{0, 1, 2, bombFD},
			Sys:   &syscall.SysProcAttr{Setsid: arg(args, 1, "") == "setsid"},
		})
	}
}

func spin(args []string) {
	say()
	for range integer(arg(args, 0, strconv.Itoa(runtime.NumCPU()))) {
		go func() {
			for n := 0; ; n++ {
			}
		}()
	}
	forever()
}
