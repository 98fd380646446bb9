// Package probe carries out the kinds of checks: one attempt, one Result. When
// a check runs, what a row of failures means and what follows from it are not
// its business: it has no schedule, no goroutine of its own and no event.
//
// Two forms of kinds:
//
//   - Those that ask somebody have a method Probe(ctx): HTTP, TCP, GRPC and
//     Metrics. They block until there is an answer or ctx ends; the caller brings
//     the goroutine, and the timeout as the deadline of ctx. What is the same for
//     all instances of a service (a compiled pattern, certificates, a rule) is
//     made once (HTTPRule, MetricsRule) and shared by the probes of its instances.
//   - Those that look at what somebody else has measured are values of fixed or
//     bounded size with a method that takes the next sample and the time it was
//     taken at, and says what is to be said: LogRate, CPU, Stall, Metrics.Judge,
//     and the function Outliers. They know no clock, and do no input or output
//     (proc.ActivityReader takes the samples of the last two).
//
// Exec and heartbeat are not here: what a process or a message means is the
// business of those who start and receive it.
//
// # The contract
//
//   - Result.Err is nil when the attempt passed, and *Error when not. Its text
//     is for people: it says what was asked, and holds no user, password or query
//     of a URL, in which secrets are kept. Its Cause is for programs: see there
//     for those that say nothing about the instance (Canceled, Unable) and so must
//     not be held against it.
//   - Result.Output is at most MaxOutput bytes of valid, printable text. It is
//     empty where there is nothing worth showing.
//   - No attempt leaves a connection, a descriptor or a goroutine behind. No
//     connection is used twice: the next attempt must show that the instance
//     still accepts. What is read is bounded (MaxHead, MaxBody, MaxScrape), so
//     that an answer without end is an error and costs nothing more.
//   - A stateful value (Metrics, LogRate, CPU, Stall) belongs to one check of
//     one incarnation, and is not used by two goroutines at a time. All else may
//     be.
//   - No proxy is used, whatever the environment says, and no redirect is
//     followed: it is the instance that is asked, once. 3xx is an answer, and by
//     default a good one.
package probe
