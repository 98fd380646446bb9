package boot

import (
	"strconv"
	"strings"
	"time"
)

// DefaultWatchdogTimeout is what a device is asked for; it is what Talos has too: long beside any turn, short
// beside a person who drives to the machine.
const DefaultWatchdogTimeout = 60 * time.Second

// Cmdline is what the kernel's command line says to us.
type Cmdline struct {
	Specs           []string
	Shell           bool // before anything of the spec starts
	Watchdog        string
	WatchdogTimeout time.Duration // as it was given or by default
	Complaints      []string      // what of ours could not be read
}

// ParseCmdline reads /proc/cmdline. What follows -- is for init's own arguments
// and comes with them.
func ParseCmdline(text string) Cmdline {
	c := Cmdline{WatchdogTimeout: DefaultWatchdogTimeout}
	for _, word := range kernelWords(text) {
		if word == "--" {
			break
		}
		c.take(word)
	}
	return c
}

func (c *Cmdline) take(word string) {
	key, value, given := strings.Cut(word, "=")
	switch {
	case isShellWord(word), key == "nines.emergency" && (!given || value == "1"):
		c.Shell = true
	case key == "nines.spec" && value != "":
		c.Specs = append(c.Specs, value)
	case key == "nines.watchdog" && strings.HasPrefix(value, "/"):
		c.Watchdog = value
	case key == "nines.watchdog_sec":
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > 24*60*60 {
			c.Complaints = append(c.Complaints, "cannot use "+word+": it takes 1 to 86400 seconds: "+DefaultWatchdogTimeout.String()+" it is")
			return
		}
		c.WatchdogTimeout = time.Duration(n) * time.Second
	case key == "nines.emergency" && value == "0":
	case strings.HasPrefix(key, "nines."):
		c.Complaints = append(c.Complaints, "cannot use "+word+" of the kernel's command line: "+
			"there are nines.spec=PATH, nines.watchdog=PATH, nines.watchdog_sec=N and nines.emergency")
	}
}

// isShellWord says whether a word asks for a shell, as systemd and sysvinit have
// them.
func isShellWord(word string) bool {
	switch word {
	case "single", "emergency", "rescue", "s", "S", "1":
		return true
	}
	return false
}

// kernelWords splits as the kernel's next_arg does: at blanks, but for those
// between double quotes, which are dropped.
func kernelWords(text string) []string {
	var words []string
	var b []byte
	quoted, in := false, false
	for i := range len(text) {
		c := text[i]
		switch {
		case c == '"':
			quoted, in = !quoted, true
		case !quoted && (c == ' ' || c == '\t' || c == '\n' || c == 0):
			if in {
				words, b, in = append(words, string(b)), b[:0], false
			}
		default:
			b, in = append(b, c), true
		}
	}
	if in {
		words = append(words, string(b))
	}
	return words
}

// OwnArgs tells init's own arguments from the words that the kernel did not know
// and passed on: those come first, and ours begin with a dash.
func OwnArgs(args []string) []string {
	for i, a := range args {
		if strings.HasPrefix(a, "-") {
			return args[i:]
		}
	}
	return nil
}
