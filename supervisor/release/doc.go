// Package release keeps the binaries that services run: a content-addressed store.
//
// A file or folder that is added is copied (sharing its blocks where the
// filesystem can) and named by its digest. Services run from the copy, so nobody
// who writes over the deployed file touches what runs, and what a revert goes back
// to is bit for bit what ran before.
//
// # In the store
//
//	<dir>/                          0711: a service reaches what it knows the name of, nobody lists it
//	  <id>/                         0711
//	    <name>                      the file or folder, named as release.path is
//	    <other> -> <name>           where two services deploy the same under different names
//	    .manifest                   0600: what it is made of, of all but programs
//	  tmp-*/  trash-*/              being added or removed; what a crash left goes at Open
//
// So Path and Resolve need no look at the disk, and ps shows a program by its own
// name.
//
// # The digest
//
// The ID of a file that everybody may execute is the SHA-256 of what it holds: what
// sha256sum says. That of anything else is the SHA-256 of its manifest, which names
// each file, folder and link in it with its mode, owner and digest (manifest.go).
// Names above it, times, inodes and extended attributes are not part of it.
//
// # What is kept of owners and modes
//
// Nobody may write in the store, so the write bits go. What everybody may read (and,
// if it is executable, execute) becomes 0555 or 0444 and belongs to the supervisor:
// a service that could chmod its own binary could spoil the one that it is to be
// reverted to. Anything else keeps its owner, its group and its other bits, for
// nobody else may read it. (A supervisor that is not root owns all, and keeps the
// bits.)
//
// Not kept are set-user-ID and set-group-ID, file capabilities and access control
// lists: a store full of old programs that give rights is one that somebody will
// find the old hole in. Release.Dropped says what had them.
//
// A link is kept as it is. Only one that leads by an absolute path into the folder
// that is added is made relative, or it would lead out of the copy into the next
// deploy. Hard links become files of their own. Sockets, FIFOs and devices are
// refused (ErrSpecial).
//
// # What is changing is not taken
//
// Add reads what it is to copy, copies it, reads the copy, and looks at the
// original again. Unless all agree, or if any process has a file of it open for
// writing, it fails with ErrChanging: a file that somebody is still copying there is
// never deployed, however long they pause. That no process has it open is only
// known where the filesystem grants leases, and of one's own files (root: all).
//
// # ETXTBSY
//
// execve fails with ETXTBSY while anybody has the file open for writing. The writing
// descriptor that Add closed may live on in a child that another goroutine forked
// meanwhile: close-on-exec ends it, but only in the child's exec, and the vfork that
// Go's ForkExec waits for ends slightly before that. No lock of ours covers this, so
// Add and Verify ask the kernel for what execve will ask: whether the file is open
// for writing (copytree.Written), and wait until it is not. Where it does not say
// (no leases: NFS, some FUSE), Add waits for the forks under way, which leaves the
// microseconds between the end of a vfork and the close.
//
// # Crashes and full disks
//
// Everything is written into tmp-*, synced, renamed to its ID, and the folder
// synced: an ID that is there is whole, on whatever disk keeps its promises, and
// Verify says whether it did. Whatever fails removes what it had begun. The
// errors keep their errno (ENOSPC, EDQUOT, EROFS).
//
// A Store may be used by many goroutines. Adds overlap; they take as long as
// copying takes, so they are for workers.
package release
