// Package node checks the machine: the check blocks at the top level of a
// specification. A Runner makes the attempts, keeps what they came to, and tells
// of changes; what follows from these (an event, an alert) is its caller's
// business. Nothing is restarted because of the machine.
//
//   - One goroutine schedules all; an attempt has one of its own while it lasts.
//     No check is attempted twice at a time.
//   - A check fails after Timing.Failures failed attempts in a row, and passes
//     again after Timing.Successes passed ones; that a clock was stepped is told
//     at once, since the next attempt does not see it. What we were unable to ask
//     (probe.Unable) counts neither way, and is shown.
//   - A filesystem that does not answer (a dead NFS, a device that hangs) blocks
//     whoever asks it. That is one goroutine and one thread a check, however long
//     it lasts: until it comes back, each attempt is a failed one.
//   - What is known begins anew with each Runner: what failed before is told
//     again, within Failures × Interval.
package node
