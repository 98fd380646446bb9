package spec

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// MaxName is the longest name of a service: it is a folder of the cgroup tree
// and part of file names, with an incarnation behind it.
const MaxName = 64

// CheckName says why a name cannot be one of a service, check, group or alert.
func CheckName(s string) error {
	if s == "" {
		return errors.New("the name is empty")
	}
	if len(s) > MaxName {
		return fmt.Errorf("the name is longer than %d characters", MaxName)
	}
	for i, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		case i > 0 && (r == '.' || r == '_' || r == '-'):
		case i == 0 && (r == '.' || r == '_' || r == '-'):
			return errors.New("a name begins with a letter or a digit")
		default:
			return fmt.Errorf("%q is not allowed in a name: letters, digits, \".\", \"_\" and \"-\" are", r)
		}
	}
	// A cgroup's folder holds the kernel's files beside the folders of its
	// children: "memory.max" cannot be both.
	if first, _, ok := strings.Cut(s, "."); ok && slices.Contains(cgroupPrefixes(), first) {
		return fmt.Errorf("names beginning with %q belong to the kernel's cgroup files", first+".")
	}
	return nil
}

func cgroupPrefixes() []string {
	return []string{"cgroup", "cpu", "cpuset", "dmem", "hugetlb", "io", "irq", "memory", "misc", "perf_event", "pids", "rdma"}
}

// CheckIdent says why a name cannot be that of a port or listener, which is
// part of an environment variable's name ($NINES_PORT_http).
func CheckIdent(s string) error {
	if s == "" {
		return errors.New("the name is empty")
	}
	if len(s) > MaxName {
		return fmt.Errorf("the name is longer than %d characters", MaxName)
	}
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return errors.New("it becomes part of an environment variable: letters, digits and \"_\", not beginning with a digit")
		}
	}
	return nil
}

// CheckEnvName says why a name cannot be that of an environment variable which
// a spec sets.
func CheckEnvName(s string) error {
	switch {
	case s == "":
		return errors.New("the name is empty")
	case strings.ContainsAny(s, "=\x00"):
		return errors.New("a name cannot hold \"=\" or a zero byte")
	case strings.HasPrefix(s, "NINES_"):
		return errors.New("names beginning with NINES_ are set by the supervisor")
	}
	return nil
}

// RlimitNames are the names of resource limits, as in prlimit(1) and systemd
// without "Limit".
func RlimitNames() []string {
	return []string{"as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio", "rttime", "sigpending", "stack"}
}

// RlimitNumber returns the kernel's number of a limit.
func RlimitNumber(name string) (int, bool) {
	n := slices.Index([]string{"cpu", "fsize", "data", "stack", "core", "rss", "nproc", "nofile", "memlock", "as", "locks", "sigpending", "msgqueue", "nice", "rtprio", "rttime"}, name)
	return n, n >= 0
}

// Capabilities are the names of the kernel's capabilities without "CAP_"; the
// index is the number.
func Capabilities() []string {
	return []string{"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
		"LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE",
		"SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME",
		"SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG",
		"WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE"}
}

// EventKinds are the kinds of events that an alert may name.
func EventKinds() []string {
	return []string{"supervisor_started", "supervisor_recovered", "supervisor_upgraded", "supervisor_reverted", "spec_applied", "spec_rejected",
		"command", "starting", "ready", "exited", "oom_killed", "check_failed", "check_recovered", "check_excused", "memory_high", "leak_suspected",
		"limit_refused", "fork_refused", "notify_refused", "listen_failed", "restarting", "backoff", "crash_loop", "held", "recovered",
		"deploy_refused", "update_started", "canary_passed", "update_done", "rollback", "data_snapshot", "data_restored", "data_failed", "quarantined",
		"quarantine_ended", "promoted", "demoted", "alert_failed", "budget_wait", "stuck", "log_lost",
		"journal_failed", "journal_recovered", "journal_replaced", "shutdown"}
}

// The kernel reserves 32 and 33 for the C library; programs see 34 as the
// first real-time signal.
const (
	sigRTMin = 34
	sigRTMax = 64
)

// signalNames in the order of their numbers, from 1 (x86, arm, riscv).
func signalNames() []string {
	return []string{"HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
		"STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS"}
}

// Signals are the names of the signals, "SIGHUP" first.
func Signals() []string {
	names := signalNames()
	for i, n := range names {
		names[i] = "SIG" + n
	}
	return names
}

// ParseSignal reads "TERM", "SIGTERM", "sigterm", "15" or "SIGRTMIN+3" and
// returns the canonical name, "SIGTERM".
func ParseSignal(s string) (string, error) {
	n, err := signalNumber(s)
	if err != nil {
		return "", err
	}
	return SignalName(n), nil
}

// SignalNumber returns the number of a signal's name in any form that
// ParseSignal reads.
func SignalNumber(s string) (int, bool) {
	n, err := signalNumber(s)
	return n, err == nil
}

// SignalName returns the canonical name of a signal's number.
func SignalName(n int) string {
	names := signalNames()
	switch {
	case n >= 1 && n <= len(names):
		return "SIG" + names[n-1]
	case n == sigRTMin:
		return "SIGRTMIN"
	case n > sigRTMin && n <= sigRTMax:
		return "SIGRTMIN+" + strconv.Itoa(n-sigRTMin)
	}
	return strconv.Itoa(n)
}

func signalNumber(s string) (int, error) {
	if isDigits(s) {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > sigRTMax || n == 32 || n == 33 {
			return 0, errors.New("there is no signal of that number")
		}
		return n, nil
	}
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	switch name {
	case "IOT":
		return 6, nil
	case "CLD":
		return 17, nil
	case "POLL":
		return 29, nil
	}
	if i := slices.Index(signalNames(), name); i >= 0 {
		return i + 1, nil
	}
	for _, rt := range []struct {
		name       string
		base, sign int
	}{{"RTMIN", sigRTMin, 1}, {"RTMAX", sigRTMax, -1}} {
		rest, ok := strings.CutPrefix(name, rt.name)
		if !ok {
			continue
		}
		if rest == "" {
			return rt.base, nil
		}
		if (rest[0] == '+' && rt.sign > 0 || rest[0] == '-' && rt.sign < 0) && isDigits(rest[1:]) {
			if n, err := strconv.Atoi(rest[1:]); err == nil && n <= sigRTMax-sigRTMin {
				return rt.base + rt.sign*n, nil
			}
		}
	}
	return 0, errors.New("there is no signal of that name")
}
