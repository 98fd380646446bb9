package inspect

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// File is an open file.
type File struct {
	FD     int     `json:"fd"`
	Path   string  `json:"path"` // as the kernel names it: "/var/log/x", "pipe:[123]", "anon_inode:[eventpoll]"
	Flags  string  `json:"flags"`
	Pos    uint64  `json:"pos"`
	Socket *Socket `json:"socket"` // null: it is none, or of a kind that is not told
}

// Socket is what a socket is.
type Socket struct {
	Kind   string `json:"kind"`   // tcp, tcp6, udp, udp6, unix
	Local  string `json:"local"`  // "127.0.0.1:8080", or the path of a unix socket
	Remote string `json:"remote"` // "": not connected
	State  string `json:"state"`  // "listen", "established", …; of a unix socket: listen, connected, unconnected
}

func (in *inspector) files() {
	entries, err := os.ReadDir(in.dir + "/fd")
	if err != nil {
		in.note("the open files", err)
		return
	}
	if len(entries) > maxFiles {
		in.p.Notes = append(in.p.Notes, strconv.Itoa(len(entries)-maxFiles)+" more open files are not shown")
		entries = entries[:maxFiles]
	}
	var sockets map[string]*Socket
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		f := File{FD: fd}
		if f.Path, err = os.Readlink(in.dir + "/fd/" + e.Name()); err != nil {
			continue // closed meanwhile
		}
		if b, err := readFile(in.dir + "/fdinfo/" + e.Name()); err == nil {
			f.Flags = openFlags(field(b, "flags"))
			if n, err := strconv.ParseUint(field(b, "pos"), 10, 64); err == nil {
				f.Pos = n
			}
		}
		if inode, ok := strings.CutPrefix(f.Path, "socket:["); ok {
			if sockets == nil {
				sockets = in.sockets()
			}
			f.Socket = sockets[strings.TrimSuffix(inode, "]")]
		}
		in.p.Files = append(in.p.Files, f)
	}
	slices.SortFunc(in.p.Files, func(a, b File) int { return a.FD - b.FD })
}

// openFlags words what an octal number of fdinfo says that matters to people.
func openFlags(octal string) string {
	n, err := strconv.ParseUint(octal, 8, 64)
	if err != nil {
		return ""
	}
	words := []string{[]string{"read", "write", "read write", "path"}[n&3]}
	for _, f := range []struct {
		bit  uint64
		name string
	}{{0o2000, "append"}, {0o4000, "nonblock"}, {0o2000000, "cloexec"}} {
		if n&f.bit != 0 {
			words = append(words, f.name)
		}
	}
	return strings.Join(words, " ")
}

// sockets are those of its network namespace, by inode.
func (in *inspector) sockets() map[string]*Socket {
	all := map[string]*Socket{}
	for _, kind := range []string{"tcp", "tcp6", "udp", "udp6"} {
		b, err := readFile(in.dir + "/net/" + kind)
		if err != nil {
			if kind == "tcp" { // others may not be built in
				in.note("the sockets", err)
			}
			continue
		}
		for line := range strings.Lines(string(b)) {
			w := strings.Fields(line)
			if len(w) < 10 || w[0] == "sl" {
				continue
			}
			s := &Socket{Kind: kind, Local: address(w[1]), Remote: address(w[2]), State: inetState(w[3], kind[0] == 'u')}
			if addr, err := netip.ParseAddrPort(s.Remote); err == nil && addr.Addr().IsUnspecified() && addr.Port() == 0 {
				s.Remote = ""
			}
			all[w[9]] = s
		}
	}
	if b, err := readFile(in.dir + "/net/unix"); err == nil {
		for line := range strings.Lines(string(b)) {
			w := strings.Fields(line)
			if len(w) < 7 || w[0] == "Num" {
				continue
			}
			s := &Socket{Kind: "unix", State: unixState(w[3], w[5])}
			if len(w) > 7 {
				s.Local = w[7]
			}
			all[w[6]] = s
		}
	}
	return all
}

// address reads "0100007F:1F90": each 32 bits of the address in the machine's order.
func address(s string) string {
	host, port, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(host)
	n, err2 := strconv.ParseUint(port, 16, 16)
	if err != nil || err2 != nil || len(b) != 4 && len(b) != 16 {
		return s
	}
	for i := 0; i < len(b); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	ip, _ := netip.AddrFromSlice(b) // 4 or 16 bytes
	return netip.AddrPortFrom(ip, uint16(n)).String()
}

func inetState(code string, udp bool) string {
	if udp {
		if code == "01" {
			return "connected"
		}
		return "unconnected"
	}
	names := map[string]string{
		"01": "established", "02": "syn_sent", "03": "syn_recv", "04": "fin_wait1", "05": "fin_wait2", "06": "time_wait",
		"07": "close", "08": "close_wait", "09": "last_ack", "0A": "listen", "0B": "closing", "0C": "new_syn_recv",
	}
	if name := names[code]; name != "" {
		return name
	}
	return code
}

func unixState(flags, state string) string {
	switch {
	case flags == "00010000":
		return "listen"
	case state == "03":
		return "connected"
	}
	return "unconnected"
}
