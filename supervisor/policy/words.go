package policy

import (
	"strconv"
	"strings"
	"time"
)

// needState is in what state a need is that is waited for.
type needState int32

const (
	needStarting needState = iota
	needNotReady
	needStopping
	needStopped
	needDisabled
	needFailed
	needHeld
	needCompleted
	needRuns
	needWaits
	needStuck
	numNeedStates
)

func (n needState) String() string {
	switch n {
	case needStarting:
		return "is starting"
	case needNotReady:
		return "is not ready"
	case needStopping:
		return "is being stopped"
	case needStopped:
		return "is stopped"
	case needDisabled:
		return "is disabled"
	case needFailed:
		return "has failed"
	case needHeld:
		return "is held after a crash loop"
	case needCompleted:
		return "has ended, so is not ready"
	case needRuns:
		return "has not completed yet"
	case needWaits:
		return "is blocked itself"
	case needStuck:
		return "is stuck"
	}
	return "is not ready"
}

func itoa(n int32) string { return strconv.Itoa(int(n)) }

func plural(n int32, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return itoa(n) + " " + what + "s"
}

// words is a duration as people write it: three significant parts are noise.
func words(d time.Duration) string {
	switch {
	case d >= time.Minute:
		d = d.Round(time.Second)
	case d >= time.Second:
		d = d.Round(10 * time.Millisecond)
	case d >= time.Millisecond:
		d = d.Round(100 * time.Microsecond)
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
