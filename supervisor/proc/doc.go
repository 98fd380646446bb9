// Package proc starts, waits for, signals and ends processes. It decides
// nothing: which process should run, and why, is the business of policy.
//
// # Starting
//
// Spawner.Start makes one process with one clone. The child has a session of
// its own, /dev/null or what it is given as standard input, the two descriptors it was given as
// standard output and error, no other descriptor but the listening sockets that
// it is to have (from 3 on), the default disposition of every signal and none
// blocked, and the soft RLIMIT_NOFILE that this process was started with (Go's
// runtime raises its own).
//
// What one clone can set (session, cgroup, credentials, directory) is set in
// the child between clone and exec. What it cannot (umask, rlimits, nice,
// oom_score_adj, LISTEN_PID) goes through nines-exec, which see, at the price of one more
// exec. Which way is taken is seen only by its cost, and by confirm: without
// the shim the exec has succeeded when Start returns; through it, confirm says
// so.
//
// Calls of Start may overlap, but the runtime makes them wait for each other
// between clone and exec. That wait is the child's: a directory on a dead NFS
// server, or a frozen cgroup, holds up every other spawn. So Start is for a
// worker, never for a loop that must not block.
//
// # Waiting
//
// Only the loop that owns the children reaps, by package wait, on SIGCHLD. What
// Peek shows may be a child whose Start has not returned yet, in three ways:
//
//   - It was started and has ended already. Start returns its pid later.
//   - Its exec failed. Start reaps it itself and returns an error, never a pid.
//   - It was the shim of a spawn that failed. confirm returns the error.
//
// So the loop leaves a child that it does not know a zombie while a spawn is in
// flight: it has exec'ed or ended, so that Start or confirm is about to return.
// Reaped before, its pid could be used again before anybody knew whose it was,
// and a death of the loop in between would lose its status.
//
// No descriptor and no goroutine is kept for a child. As long as one loop reaps
// and signals, a pid cannot name another process
// between them; for processes that are not our children there is SignalProcess,
// which compares the start time through a pidfd.
//
// # Ending
//
// Tree is everything that one start has brought about. With a cgroup, the
// kernel knows it and ends it. Without one, it is found by session, process
// group, ancestry and the environment mark NINES_INCARNATION; the one thing
// that is not found is a process which has left its session and whose parents
// have all ended and which has cleared its environment, all three.
package proc
