// Package snapshot keeps copies of the data that must go back with a binary, and puts
// them back.
//
// # Taking
//
// Take copies folders and files as they are: owners, modes, times, extended attributes
// and access control lists, symbolic and hard links, holes, FIFOs and (as root)
// devices. Sockets are left out: they mean nothing without who listens. Blocks are
// shared where the filesystem can (FICLONE), which needs the store on the same one.
// Inode flags (chattr) are not kept.
//
// That nobody writes meanwhile is the caller's to see to: the service is stopped.
// Whoever does is found all the same, and the snapshot refused (ErrChanging).
//
// A path that leads nowhere is kept as that: Restore makes it so again. A path that is
// a symbolic link stands for what it leads to, and must lead there still when it is
// put back (ErrMoved). A mount point inside a path is refused (ErrMount): it cannot be
// put back together with what is around it; it may be a path of its own. So may a
// mount point be, but for a single file.
//
// # Putting back
//
// Restore never deletes: what is there is moved aside to <path>.nines-<label>, and what
// was kept is put in its place, from a copy, so that the snapshot stays. In a mount
// point, which cannot be renamed, it is its entries that move, to
// <path>/.nines-<label>; those whose names begin with .nines- and lost+found stay, and
// are not part of a snapshot either.
//
//	1 a journal says what is to be done                    <dir>/.restore-<id>
//	2 everything is copied beside its place, and synced    <path>.nines-new-<label>
//	3 the journal says so
//	4 path by path: the newer aside, the copy into place
//	5 the outcome is recorded                              <dir>/<id>/restored.json
//	6 the journal goes
//
// Before 3 nothing has changed, and an error takes all of it back. From 3 on it goes
// forward only: each step of 4 can be told from what there is, so whatever ends it (a
// crash, a signal, the power), calling Restore with the same label, or Resume, goes on
// where it was, and once it is done answers what it answered before. A service whose
// restore is pending must not be started: its data may be nowhere for the moment.
//
// # The store
//
// 0700; what begins with a dot in it is being made or removed, but for journals. What a
// crash has left goes at Open. Taking is: copy, sync the filesystem, rename, sync the
// folder. A Store may be used by many goroutines, one call for the same paths at a
// time. Everything stops soon after its context ends.
package snapshot
