package listen

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// nobodyKnown is said when no holder can be found: /proc is not there, or shows
// this user only its own processes, or the holder is in another container.
const nobodyKnown = "a process that this user cannot see (root can: ss -lp)"

// States and flags in /proc/net.
const (
	tcpListen     = "0A"
	unixListening = 0x10000
)

// tcpHolders describes who listens where an address wants to; both: it wants
// both families.
func tcpHolders(addr netip.Addr, port int, both bool) string {
	inodes := map[string]bool{}
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		lines(file, func(f []string) {
			if len(f) < 10 || f[3] != tcpListen {
				return
			}
			have, ok := parseAddr(f[1])
			if !ok || int(have.Port()) != port {
				return
			}
			// Not exact for sockets of one family only; the others would not hold
			// the port.
			a := have.Addr()
			if both || a.IsUnspecified() || addr.IsUnspecified() || a.Unmap() == addr.WithZone("").Unmap() {
				inodes[f[9]] = true
			}
		})
	}
	return holders(inodes)
}

// unixHolders describes who has a socket at that path.
func unixHolders(path string) string {
	inodes := map[string]bool{}
	lines("/proc/net/unix", func(f []string) {
		// Num RefCount Protocol Flags Type St Inode Path; the path may hold spaces.
		if len(f) < 8 || strings.Join(f[7:], " ") != path {
			return
		}
		flags, err := strconv.ParseUint(f[3], 16, 32)
		if err == nil && (flags&unixListening != 0 || f[4] == "0002") {
			inodes[f[6]] = true
		}
	})
	return holders(inodes)
}

// lines gives the words of each line of a file of /proc/net. That it cannot be
// read means that nobody is found.
func lines(file string, fn func(words []string)) {
	f, err := os.Open(file)
	if err != nil {
		return
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		fn(strings.Fields(s.Text()))
	}
}

// parseAddr reads "0100007F:1F90": each 32-bit word of the address in the
// machine's own byte order.
func parseAddr(s string) (netip.AddrPort, bool) {
	host, p, ok := strings.Cut(s, ":")
	b, err1 := hex.DecodeString(host)
	port, err2 := strconv.ParseUint(p, 16, 16)
	if !ok || err1 != nil || err2 != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(b); i += 4 {
		binary.BigEndian.PutUint32(b[i:], binary.NativeEndian.Uint32(b[i:]))
	}
	addr, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(addr, uint16(port)), ok
}

// holders names the processes that have one of these sockets open. The lowest
// pid is named: of a program with children, most often it is the program.
func holders(inodes map[string]bool) string {
	if len(inodes) == 0 {
		return nobodyKnown
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nobodyKnown
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err == nil && holds(pid, inodes) {
			pids = append(pids, pid)
		}
	}
	if len(pids) == 0 {
		return nobodyKnown
	}
	slices.Sort(pids)
	text := describe(pids[0])
	if n := len(pids) - 1; n == 1 {
		text += " and 1 more process"
	} else if n > 1 {
		text += " and " + strconv.Itoa(n) + " more processes"
	}
	return text
}

func holds(pid int, inodes map[string]bool) bool {
	dir := "/proc/" + strconv.Itoa(pid) + "/fd"
	fds, err := os.ReadDir(dir)
	if err != nil {
		return false // ended, or not ours to look at
	}
	for _, fd := range fds {
		link, err := os.Readlink(dir + "/" + fd.Name())
		if err != nil {
			continue
		}
		inode, ok := strings.CutPrefix(link, "socket:[")
		if ok && inodes[strings.TrimSuffix(inode, "]")] {
			return true
		}
	}
	return false
}

func describe(pid int) string {
	id := "pid " + strconv.Itoa(pid)
	comm, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm")
	if err != nil {
		return id
	}
	return clean(strings.TrimSuffix(string(comm), "\n")) + " (" + id + ")"
}
