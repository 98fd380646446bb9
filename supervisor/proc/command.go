package proc

import "nines/spec"

// Credential is who a process runs as.
type Credential struct {
	UID, GID uint32
	Groups   []uint32 // supplementary
}

// User is a credential with its record.
type User struct {
	Credential
	Name, Home, Shell string
}

// Command is what to start.
type Command struct {
	Argv []string // never empty; Argv[0] without a slash is looked for in the PATH of Env
	Env  []string
	Dir  string // "": ours

	Credential *Credential // nil: as we are

	// Any of these needs the shim.
	Umask             *uint32
	Nice, OOMScoreAdj *int
	Rlimits           []spec.Rlimit
	// Listen are listening sockets: the process gets them as 3 and those that
	// follow, and LISTEN_PID with its own pid, which nobody knows before. Env
	// holds the other variables of sd_listen_fds(3), and no LISTEN_PID.
	Listen []int
	// Watchdog adds WATCHDOG_PID, with its own pid.
	Watchdog bool

	// ReadyAs is the number that the descriptor Ready gets; 0: there is none.
	Ready, ReadyAs int

	Stdin          int // descriptor that becomes 0; 0: /dev/null
	Stdout, Stderr int // descriptors that become 1 and 2; -1: /dev/null
	CgroupFD       int // folder of the cgroup to be born in; -1: ours
}

// needsShim says whether one clone is not enough.
func (c *Command) needsShim() bool {
	return c.Umask != nil || c.Nice != nil || c.OOMScoreAdj != nil || len(c.Rlimits) > 0 || len(c.Listen) > 0 || c.Watchdog
}
