package notify

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestParseSaid(t *testing.T) {
	for text, want := range map[string]Said{
		"":                                   {},
		"READY=1":                            {Ready: true},
		"READY=0\nREADY=\nREADY":             {},
		"READY=1\nSTATUS=up and\trunning\n":  {Ready: true, HasStatus: true, Status: "up and running"},
		"RELOADING=1\nMONOTONIC_USEC=123456": {Reloading: true, Monotonic: 123456 * time.Microsecond},
		"STOPPING=1\nERRNO=2":                {Stopping: true, Errno: 2},
		"STATUS=":                            {HasStatus: true},
		"STATUS=a\x1b[31m\xffb\u202ec":       {HasStatus: true, Status: "a [31m b c"},
		"WATCHDOG=1":                         {Beat: true},
		"WATCHDOG=trigger":                   {Trigger: true},
		"WATCHDOG_USEC=20000000":             {Watchdog: 20 * time.Second},
		"WATCHDOG_USEC=-1\nMAINPID=-5":       {},
		"EXTEND_TIMEOUT_USEC=18446744073709551615": {Extend: time.Duration(maxUsec) * time.Microsecond},
		"EXTEND_TIMEOUT_USEC=99999999999999999999": {Extend: time.Duration(maxUsec) * time.Microsecond},
		"MAINPID=4711":                     {MainPID: 4711},
		"MAINPID=99999999999":              {},
		"FDSTORE=1\nFDNAME=db\nFDPOLL=0":   {Store: true, FDName: "db", KeepHungUp: true},
		"FDSTORE=1\nFDNAME=a:b":            {Store: true, FDName: "stored"},
		"FDSTORE=1\nFDNAME=a b":            {Store: true, FDName: "a b"},
		"FDSTOREREMOVE=1\nFDNAME=db":       {Unstore: true, FDName: "db"},
		"BARRIER=1":                        {Barrier: true},
		"X_MINE=1\nnonsense\n=\n\nREADY=1": {Ready: true},
	} {
		if got := ParseSaid([]byte(text)); got != want {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
	long := ParseSaid([]byte("STATUS=" + strings.Repeat("ä", 1000)))
	if len(long.Status) != MaxStatus || !utf8.ValidString(long.Status) {
		t.Errorf("a long status: %q", long.Status)
	}
}

func TestLight(t *testing.T) {
	for text, want := range map[string]bool{
		"WATCHDOG=1": true, "WATCHDOG=1\n": true, "STATUS=x": true, "": true, "X_MINE=1": true, "ERRNO=1": true, "WATCHDOG=1\nSTATUS=x": true,
		"READY=1": false, "WATCHDOG=trigger": false, "RELOADING=1": false, "STOPPING=1": false, "MAINPID=1": false, "FDSTORE=1": false,
		"FDSTOREREMOVE=1": false, "BARRIER=1": false, "EXTEND_TIMEOUT_USEC=1": false, "WATCHDOG_USEC=1": false,
	} {
		if got := IsLight([]byte(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	beat := []byte("WATCHDOG=1\n")
	if n := testing.AllocsPerRun(100, func() { IsLight(beat) }); n != 0 {
		t.Errorf("a sign of life costs %v allocations", n)
	}
}

// No message panics, or gives more than was sent, or what a terminal or the
// keeper's store could be confused by.
func FuzzSaid(f *testing.F) {
	for _, s := range []string{
		"READY=1\nSTATUS=up", "RELOADING=1\nMONOTONIC_USEC=1", "WATCHDOG=trigger\nWATCHDOG_USEC=5", "FDSTORE=1\nFDNAME=x\nFDPOLL=0",
		"MAINPID=12\nERRNO=2\nEXTEND_TIMEOUT_USEC=99999999999999999999", "BARRIER=1", "STATUS=\xff\x00\x1b[0m", "=\n==\n\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := ParseSaid(b)
		if len(s.Status) > MaxStatus || !utf8.ValidString(s.Status) || strings.ContainsAny(s.Status, "\n\r\x00\x1b") {
			t.Errorf("status %q", s.Status)
		}
		if s.FDName != "" && FDNameOr(s.FDName) != s.FDName || strings.ContainsAny(s.FDName, ":\n") {
			t.Errorf("name %q", s.FDName)
		}
		if s.Errno < 0 || s.MainPID < 0 || s.Extend < 0 || s.Watchdog < 0 || s.Monotonic < 0 {
			t.Errorf("negative: %+v", s)
		}
		if s.Light() != IsLight(b) {
			t.Errorf("it is light, or not: %q", b)
		}
	})
}
