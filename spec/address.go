package spec

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path"
	"strconv"
	"strings"
)

// ListenAddress is what the address of a listen block says.
type ListenAddress struct {
	Network string // tcp, udp, unix
	Host    string // tcp, udp: "" = all addresses of both families
	Port    int    // tcp, udp
	Path    string // unix, absolute
	Mode    uint32 // unix: permission bits, when ModeSet; else 0666: the folder says who gets there
	ModeSet bool
	User    string // unix: owner, and with it the group of that user; "" = the supervisor's
}

// ParseListen reads the address of a listen block: tcp://HOST:PORT,
// udp://HOST:PORT, unix:///PATH?mode=0660&user=NAME.
func ParseListen(s string) (ListenAddress, error) {
	network, rest, ok := strings.Cut(s, "://")
	if !ok {
		return ListenAddress{}, errors.New("the scheme is missing")
	}
	switch network {
	case "tcp", "udp":
		host, port, err := SplitAddress(rest)
		if err != nil {
			return ListenAddress{}, err
		}
		return ListenAddress{Network: network, Host: host, Port: port}, nil
	case "unix":
		return parseUnix(rest)
	}
	return ListenAddress{}, fmt.Errorf("the scheme %q is none of tcp, udp and unix", network)
}

func parseUnix(rest string) (ListenAddress, error) {
	a := ListenAddress{Network: "unix"}
	file, query, _ := strings.Cut(rest, "?")
	if !path.IsAbs(file) {
		return a, errors.New("the path after unix:// is not absolute")
	}
	// sun_path holds 108 bytes with the zero at the end.
	if a.Path = path.Clean(file); len(a.Path) > 107 {
		return a, errors.New("the path is longer than the 107 bytes that a unix socket's may have")
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return a, errors.New("what follows \"?\" is not of the form mode=0660&user=NAME")
	}
	for key, v := range values {
		switch key {
		case "mode":
			if a.Mode, err = ParseMode(v[0]); err != nil {
				return a, fmt.Errorf("mode: %w", err)
			}
			a.ModeSet = true
		case "user":
			a.User = v[0]
		default:
			return a, fmt.Errorf("%q is neither mode nor user", key)
		}
	}
	return a, nil
}

// String is the canonical form that ParseListen reads.
func (a ListenAddress) String() string {
	if a.Network != "unix" {
		return a.Network + "://" + net.JoinHostPort(a.Host, strconv.Itoa(a.Port))
	}
	var query []string
	if a.ModeSet {
		query = append(query, fmt.Sprintf("mode=%04o", a.Mode))
	}
	if a.User != "" {
		query = append(query, "user="+url.QueryEscape(a.User))
	}
	s := "unix://" + a.Path
	if len(query) > 0 {
		s += "?" + strings.Join(query, "&")
	}
	return s
}

// SplitAddress reads "HOST:PORT", with a number from 1 to 65535 as port.
func SplitAddress(s string) (host string, port int, err error) {
	host, p, err := net.SplitHostPort(s)
	if err != nil {
		return "", 0, errors.New("it is not of the form HOST:PORT (an IPv6 address stands in brackets)")
	}
	if strings.ContainsAny(host, " /?#@") {
		return "", 0, errors.New("the host is neither a name nor an IP address")
	}
	port, err = strconv.Atoi(p)
	if err != nil || port < 1 || port > 65535 {
		return "", 0, errors.New("the port is not a number from 1 to 65535")
	}
	return host, port, nil
}
