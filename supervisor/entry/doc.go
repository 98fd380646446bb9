// Package entry is nines-init as the entrypoint of one command:
//
//	nines-init [flags] -- COMMAND…
//
// It starts COMMAND, passes signals on to it, reaps what is orphaned, and ends
// with COMMAND's status. It is for PID 1 of a container; it works anywhere.
//
// # What the command gets
//
// All that nines-init was given, as if it were not there: arguments,
// environment, working directory, descriptors 0, 1, 2 and those that were
// inherited open, the limit of open files, the mask of blocked signals and
// which signals are ignored. (Go's runtime changes the last three at its
// start. So the program begins before it: see given_amd64.s.) LISTEN_PID is
// changed from our pid to the command's, and LISTEN_PIDFDID, which would then
// be wrong, goes.
//
// A command without a slash is looked for in PATH. What is no program for this
// machine is not handed to a shell.
//
// # Its place
//
// The command leads a process group of its own in our session. Where there is
// a controlling terminal and we are in its foreground, that group becomes the
// foreground, so that a shell has job control and a Ctrl-C reaches the command
// alone. At the end we take the terminal back.
//
// With Group it leads a session of its own. If we led ours, it takes over the
// controlling terminal.
//
// # Signals
//
// Every signal that can be caught is passed on: 1 to 31 but SIGKILL, SIGSTOP
// and SIGCHLD, and the real-time ones from 34 to 64. Also those that Go keeps
// for itself, SIGPROF and SIGURG, and those of faults, as SIGSEGV: they are
// told from real faults and from what the runtime sends itself by what the
// kernel says of their sender. (Not on other processors than amd64 and arm64:
// see catch_other.go.) They are passed on in the order in which they came, once
// the command was executed. Values sent with sigqueue are lost.
//
//	             without Group              with Group
//	goes to      the command                its process group
//	TSTP TTIN    as they are                as SIGSTOP: a group without a
//	TTOU                                    shell above it ignores the others
//	at the end   nothing                    SIGTERM to what is left of the group
//
// Job control: if the command stops by one of these three, or after one of them
// was passed on, we stop too, so that the shell above takes the terminal. On
// SIGCONT we hand the terminal over again, if the shell gave it to us, and
// continue the group. PID 1 cannot be stopped.
//
// # The end
//
// The status is the command's exit code, or 128+N if signal N killed it; 0
// where Success lists it. 127: not found. 126: not executable. 1: it could not
// be started for another reason. What else still runs is left alone (in a
// container the kernel ends it with PID 1).
//
// # What it costs and what it holds on to
//
// One goroutine, in poll(2) on one pipe: no timer, no wakeup without a cause.
// While the command runs it has "/" as its working directory and only 0, 1 and
// 2 of what it had inherited: it keeps neither a mount busy nor a pipe open. A
// message that stderr does not take at once is dropped. A panic costs the turn
// of the loop in which it comes.
package entry
