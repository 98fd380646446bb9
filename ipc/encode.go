package ipc

import (
	"math"
	"strconv"
	"time"
	"unicode/utf8"
)

// A status of a thousand instances is 0.7 MB. encoding/json takes 4 ms to
// write it and 17 ms to read it; what stands here and in pull.go and
// decode_status.go takes a tenth of that. Tests hold the two against
// encoding/json, so that a field that is forgotten here fails them.

// appendStatus appends s as JSON.
func appendStatus(b []byte, s *Status) []byte {
	b = append(b, `{"supervisor":`...)
	b = appendSupervisor(b, &s.Supervisor)
	b = append(b, `,"services":`...)
	b = appendList(b, s.Services, appendService)
	return append(b, '}')
}

func appendSupervisor(b []byte, s *Supervisor) []byte {
	b = appendString(append(b, `{"version":`...), s.Version)
	b = appendInt(append(b, `,"pid":`...), s.PID)
	b = appendInt(append(b, `,"keeper_pid":`...), s.KeeperPID)
	b = appendTime(append(b, `,"started_at":`...), &s.StartedAt)
	b = appendInt(append(b, `,"restarts":`...), s.Restarts)
	b = appendString(append(b, `,"cgroups":`...), s.Cgroups)
	b = appendList(append(b, `,"warnings":`...), s.Warnings, func(b []byte, w *string) []byte { return appendString(b, *w) })
	b = appendList(append(b, `,"checks":`...), s.Checks, appendCheck)
	return append(b, '}')
}

func appendService(b []byte, s *Service) []byte {
	b = appendString(append(b, `{"name":`...), s.Name)
	b = appendString(append(b, `,"type":`...), s.Type)
	b = appendString(append(b, `,"mode":`...), s.Mode)
	b = appendString(append(b, `,"state":`...), s.State)
	b = appendString(append(b, `,"desired":`...), s.Desired)
	b = appendString(append(b, `,"reason":`...), s.Reason)
	b = appendInt(append(b, `,"revision":`...), s.Revision)
	b = appendInt(append(b, `,"instances_desired":`...), s.InstancesDesired)
	b = appendString(append(b, `,"update":{"state":`...), s.Update.State)
	b = appendInt(append(b, `,"from":`...), s.Update.From)
	b = appendInt(append(b, `,"to":`...), s.Update.To)
	b = appendList(append(b, `},"instances":`...), s.Instances, appendInstance)
	b = appendList(append(b, `,"quarantine":`...), s.Quarantine, appendQuarantined)
	b = appendInt(append(b, `,"availability":{"window_seconds":`...), s.Availability.WindowSeconds)
	b = appendFloat(append(b, `,"ratio":`...), s.Availability.Ratio)
	b = appendFloat(append(b, `,"mttr_seconds":`...), s.Availability.MTTRSeconds)
	b = appendInt(append(b, `,"failures":`...), s.Availability.Failures)
	return append(b, "}}"...)
}

func appendInstance(b []byte, in *Instance) []byte {
	b = appendString(append(b, `{"id":`...), in.ID)
	b = appendInt(append(b, `,"index":`...), in.Index)
	b = appendString(append(b, `,"state":`...), in.State)
	b = appendString(append(b, `,"reason":`...), in.Reason)
	b = appendString(append(b, `,"status":`...), in.Status)
	b = appendString(append(b, `,"role":`...), in.Role)
	b = appendInt(append(b, `,"pid":`...), in.PID)
	b = appendInt(append(b, `,"revision":`...), in.Revision)
	b = appendTime(append(b, `,"started_at":`...), in.StartedAt)
	b = appendTime(append(b, `,"ready_at":`...), in.ReadyAt)
	b = appendInt(append(b, `,"restarts":`...), in.Restarts)
	b = append(b, `,"last_exit":`...)
	if e := in.LastExit; e == nil {
		b = append(b, "null"...)
	} else {
		b = appendString(append(b, `{"reason":`...), e.Reason)
		b = appendInt(append(b, `,"code":`...), e.Code)
		b = appendString(append(b, `,"signal":`...), e.Signal)
		b = append(appendTime(append(b, `,"at":`...), &e.At), '}')
	}
	b = appendTime(append(b, `,"next_start_at":`...), in.NextStartAt)
	b = strconv.AppendUint(append(b, `,"memory_bytes":`...), in.MemoryBytes, 10)
	b = appendFloat(append(b, `,"cpu_seconds":`...), in.CPUSeconds)
	b = appendList(append(b, `,"checks":`...), in.Checks, appendCheck)
	b = appendString(append(b, `,"cgroup":`...), in.Cgroup)
	return append(b, '}')
}

func appendCheck(b []byte, c *Check) []byte {
	b = appendString(append(b, `{"name":`...), c.Name)
	b = appendString(append(b, `,"state":`...), c.State)
	b = appendString(append(b, `,"output":`...), c.Output)
	return append(b, '}')
}

func appendQuarantined(b []byte, q *Quarantined) []byte {
	b = appendString(append(b, `{"id":`...), q.ID)
	b = appendString(append(b, `,"service":`...), q.Service)
	b = appendString(append(b, `,"instance":`...), q.Instance)
	b = appendString(append(b, `,"state":`...), q.State)
	b = appendInt(append(b, `,"pid":`...), q.PID)
	b = appendTime(append(b, `,"since":`...), &q.Since)
	b = appendString(append(b, `,"reason":`...), q.Reason)
	b = strconv.AppendUint(append(b, `,"memory_bytes":`...), q.MemoryBytes, 10)
	b = appendTime(append(b, `,"expires_at":`...), &q.ExpiresAt)
	return append(b, '}')
}

// appendList appends a list; nil is an empty one, so that no reader meets null.
func appendList[T any](b []byte, list []T, one func([]byte, *T) []byte) []byte {
	b = append(b, '[')
	for i := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = one(b, &list[i])
	}
	return append(b, ']')
}

func appendInt(b []byte, n int) []byte { return strconv.AppendInt(b, int64(n), 10) }

// appendFloat appends f; JSON has no NaN and no infinity, which become 0.
func appendFloat(b []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		f = 0
	}
	return strconv.AppendFloat(b, f, 'f', -1, 64)
}

// appendTime appends t as RFC 3339, nil as null.
func appendTime(b []byte, t *time.Time) []byte {
	if t == nil {
		return append(b, "null"...)
	}
	return append(t.AppendFormat(append(b, '"'), time.RFC3339Nano), '"')
}

// appendString appends s quoted. Invalid UTF-8 is replaced. U+2028 and U+2029
// are escaped as encoding/json does; < > & are not: this is no HTML.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' {
				i++
				continue
			}
			b = append(b, s[start:i]...)
			switch c {
			case '"', '\\':
				b = append(b, '\\', c)
			case '\n':
				b = append(b, '\\', 'n')
			case '\r':
				b = append(b, '\\', 'r')
			case '\t':
				b = append(b, '\\', 't')
			default:
				b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			}
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			b = append(append(b, s[start:i]...), "\ufffd"...)
			start = i + size
		case r == '\u2028' || r == '\u2029':
			b = append(append(b, s[start:i]...), `\u202`...)
			b = append(b, hex[r&15])
			start = i + size
		}
		i += size
	}
	return append(append(b, s[start:]...), '"')
}
