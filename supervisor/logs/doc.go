// Package logs is the log process, nines-log: it reads every service's output,
// keeps it in files and the last of it in memory, and answers queries. It is
// apart from the supervisor, so that a flood of output never meets policy.
//
// # The contract
//
//   - The keeper hands it the read ends of log pipes (FDSTORE=1, FDNAME=name,
//     X_NINES_LOG=Settings.Encode), all of them again after a restart of either
//     side. A name that comes again with the same pipe brings new settings, all of
//     which take effect at once. At end-of-file, when everything is written, it
//     answers FDSTOREREMOVE=1 with the name. STOPPING=1, the keeper's death and SIGTERM end it: it writes
//     what is in the pipes then, for at most a few seconds.
//   - A file holds every byte as it came, each line behind a stamp (RFC 3339, UTC,
//     microseconds; one clock read a buffer) and a space. Streams that are split
//     have a file each, INDEX.log and INDEX.err.log: nothing else in a file says
//     which is which. An unfinished line is written at once and goes on in its
//     place; a newline is added only where its writer is gone or another wrote.
//     In FormatJSON a line is an Object instead, written when its line is whole.
//     Rotation comes only before a line, so a line longer than max_size exceeds it.
//   - Rotated files are compressed in the background, one after the other, by a
//     thread of the lowest priority (see compressor, and gz.go for the form). Never
//     are there more than Keep, whatever their form. A death at any moment leaves
//     each file once and whole.
//   - Rate bounds how fast a pipe is read; what is not read stays in it, and in the
//     end stops its writer. Nothing is dropped for it.
//   - In memory lines are cut at 16 KiB, and kept by number of lines, by bytes,
//     and by bytes of all instances together.
//   - Nothing waits for a reader. Queries, and stdout, which is a reader too,
//     take lines out of memory when they can; what was overwritten by then is
//     said to be lost. Only where stdout is the sole place of an instance's
//     lines, and moves, does its pipe wait a little; what is lost there all the
//     same is told as what a disk could not take.
//   - A slow disk holds up the pipes that write to it. An error, or a write that
//     does not return in 5 s, does not: lines are dropped from the file, counted,
//     and "nines: N lines lost: reason" is written when it can be. Memory still
//     has the last of them. One message on stderr says what is wrong, one that it
//     works again. The supervisor hears of both, with the number of lines, in
//     Notices, which it asks for over the query socket: they are numbered, so that
//     neither side's death makes it miss one or hear one twice. Only what a killed
//     nines-log had not told yet is gone with it.
//   - Lines that match a pattern of Settings.Matches are counted for each pipe, when
//     they are whole and before anything waits for a disk, and the supervisor hears
//     of it in the same answer: totals, so that neither side's death makes it count
//     one twice; and to one that has just begun, when the lines came. With a killed
//     nines-log what it had read and not told is gone, and its successor sees only
//     the rest of a line of which it had read a part.
//
// # How it reads
//
// An idle pipe costs a struct and a descriptor in one epoll set, which one
// goroutine, itself parked in Go's netpoller, waits for. When there is something
// to read, a pump (a goroutine with a pooled buffer) reads until there is not. Between short
// reads it naps, so that a writer of small lines is not stopped for each: the
// wake-ups, not the bytes, are what costs. The watch is one-shot, and is taken
// off a busy pipe, for the same reason.
//
// The pump holds its sink's turn while it is at the disk. If it does not come
// back, it is left there with the turn, and another pump reads the pipe,
// publishes to memory and counts.
package logs
