// Package logs is the log process, nines-log: it reads every service's output,
// keeps it in files and the last of it in memory, and answers queries. It is
// apart from the supervisor, so that a flood of output never meets policy.
package logs
