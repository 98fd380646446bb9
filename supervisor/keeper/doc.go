// Package keeper is nines-init: mechanism only. It reaps, forwards signals,
// holds descriptors and small values for whoever may die, and keeps two
// children alive: the supervisor and the log process. It decides nothing.
//
// # The contract
//
//   - It never exits while something is kept. It ends after the supervisor said
//     X_NINES_END=code and exited (any other exit is a crash, and the next one is
//     started), or when a SIGTERM or SIGINT came before there was anything to keep.
//   - It reaps everything that is or becomes its child, thousands at once, and
//     tells its own two by their pid: the loop both starts and reaps them, so a
//     pid is known before its exit can be seen, and cannot be reused before.
//   - Nothing blocks the loop: sockets are nonblocking, what a child does not
//     take waits in the store itself (see outbox), messages for people are
//     dropped and counted when stderr takes none. The exception is fork: the
//     kernel holds the parent until the child's exec has begun.
//   - Each generation of a child has a socketpair of its own. The next starts
//     only after the last was reaped and its socket drained, so no message of a
//     dead one arrives after its successor's, and there are never two of a kind.
//   - A child that dies is started again at once, then after 100 ms doubling to
//     2 s; ten seconds of READY=1 forget that. The keeper never gives up.
//   - Malformed messages cost a line on stderr and their descriptors. A panic
//     costs the event that it was about, and the loop goes on.
//
// # Another program
//
// A supervisor asks for another in its place (see upgrade.go): it makes way, the
// new one is tried, and what ran before runs again if that one is not ready in
// time, cannot be started, or ends three times. Programs are held open (see
// program.go), so what became of their paths does not matter. The keeper itself
// becomes another program by exec (see reexec.go), and goes back the same way; as
// the init of a machine too, with its hardware watchdog open and petted on. Signals
// that come meanwhile are pending in the kernel, for the one or the other: see package
// signals.
//
// The children get no parent-death signal. If the keeper is killed, the
// supervisor reads the end of its socket and decides; the kernel killing it
// would take away the one process that knows how to stop the services in
// order. And that signal follows the thread that forked, not the process.
//
// # One child's life
//
//	          start            READY=1             exit
//	waiting ─────────▶ up ───────────────▶ ready ───────▶ reaped, drained
//	   ▲                │ exit                               │
//	   └── backoff ◀────┴────────────────────────────────────┘
//	                                     END was said: log process stopped, over
//
// # On a machine
//
// As a machine's init (Options.Machine) it takes the signals that ask for an end
// of the machine for a SIGTERM to the supervisor, and remembers which end that
// is; `nines shutdown` says it with the shutdown that is stored. Package boot
// carries it out when Run has returned. A supervisor that has never been ready and
// does not begin is given up, so that a person can get a shell.
//
// The hardware watchdog (value "watchdog", or Options.Device) is petted while the
// supervisor gives signs of life, or may still be mended.
//
// # Memory and threads
//
// What Go's runtime throws cannot be recovered: no thread to be had, no memory.
// So all threads are made at start (see WarmUp), buffers are fixed and the
// store bounded. Nothing here may import fmt, net, encoding/json, log or
// runtime/debug: they double what is resident.
package keeper
