package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"nines/ipc"
)

// details gathers "name  value" lines; empty values are left out.
type details struct {
	color bool
	names []string
	lines []string
}

func (d *details) add(name, value string) {
	if value != "" {
		d.names = append(d.names, name)
		d.lines = append(d.lines, printable(value))
	}
}

func (d *details) bytes() []byte {
	width := 0
	for _, n := range d.names {
		width = max(width, len(n))
	}
	var b []byte
	for i, n := range d.names {
		b = append(b, "  "+paint(d.color, dim, n)+strings.Repeat(" ", width-len(n)+2)+d.lines[i]+"\n"...)
	}
	return b
}

// title is the first line of details.
func title(name, state, rest string, color bool) []byte {
	return []byte(paint(color, bold, printable(name)) + "  " + paint(color, stateColor(state), state) + rest + "\n")
}

func serviceDetails(svc *ipc.Service, now time.Time, color bool, width int) []byte {
	out := title(svc.Name, svc.State, "  "+readyText(svc), color)
	d := &details{color: color}
	kind := svc.Type
	if svc.Mode == "active-passive" {
		kind += ", " + svc.Mode
	}
	d.add("type", kind)
	d.add("wanted", fmt.Sprintf("%s, %s", svc.Desired, count(svc.InstancesDesired, "instance")))
	d.add("reason", svc.Reason)
	if svc.Revision > 0 {
		d.add("revision", strconv.Itoa(svc.Revision))
	}
	if u := svc.Update; u.State != "idle" && u.State != "" {
		d.add("update", fmt.Sprintf("%s, from revision %d to %d", u.State, u.From, u.To))
	}
	if v := svc.Availability; v.WindowSeconds > 0 {
		d.add("availability", fmt.Sprintf("%s%% in %s, %s, recovery %s on average",
			strconv.FormatFloat(v.Ratio*100, 'f', -1, 64), age(time.Duration(v.WindowSeconds)*time.Second),
			count(v.Failures, "failure"), strconv.FormatFloat(v.MTTRSeconds, 'f', -1, 64)+"s"))
	}
	out = append(append(out, d.bytes()...), '\n')

	t := newTable(true, color, width)
	t.header("INSTANCE", "STATE", "RESTARTS", "PID", "UPTIME", "MEMORY", "CPU", "LAST EXIT", "REASON")
	t.right(2, 3, 4, 5, 6)
	for i := range svc.Instances {
		in := &svc.Instances[i]
		t.row(
			cell{in.ID, bold}, cell{in.State, stateColor(in.State)}, cell{strconv.Itoa(in.Restarts), restartColor(in.Restarts)},
			cell{pidText(in.PID), plain}, cell{uptimeText(in, now), plain}, cell{memoryText(in.MemoryBytes), plain},
			cell{cpuText(in.CPUSeconds), plain}, cell{exitAgo(in.LastExit, now), plain}, cell{instanceReason(in, now), plain},
		)
	}
	out = append(out, t.bytes()...)
	for i := range svc.Quarantine {
		q := &svc.Quarantine[i]
		out = append(out, fmt.Sprintf("quarantined: %s since %s (pid %d): %s\n", q.ID, age(now.Sub(q.Since)), q.PID, printable(q.Reason))...)
	}
	return out
}

func instanceDetails(svc *ipc.Service, in *ipc.Instance, now time.Time, color bool) []byte {
	out := title(in.ID, in.State, "", color)
	d := &details{color: color}
	d.add("reason", in.Reason)
	if svc.Mode == "active-passive" {
		d.add("role", in.Role)
	}
	d.add("pid", pidText(in.PID))
	if in.PID != 0 && in.StartedAt != nil {
		d.add("started", ago(*in.StartedAt, now))
	}
	if in.PID != 0 && in.ReadyAt != nil {
		d.add("ready", ago(*in.ReadyAt, now))
	}
	d.add("restarts", strconv.Itoa(in.Restarts))
	d.add("last exit", exitAgo(in.LastExit, now))
	if in.NextStartAt != nil {
		d.add("next start", "in "+soon(in.NextStartAt.Sub(now)))
	}
	d.add("memory", memoryText(in.MemoryBytes))
	d.add("cpu", cpuText(in.CPUSeconds))
	if in.Revision > 0 {
		d.add("revision", strconv.Itoa(in.Revision))
	}
	d.add("cgroup", in.Cgroup)
	for _, c := range in.Checks {
		text := c.State
		if c.Output != "" {
			text += ": " + c.Output
		}
		name := "check " + printable(c.Name)
		for line := range strings.SplitSeq(text, "\n") {
			d.add(name, line)
			name = "" // what it said may have more lines
		}
	}
	return append(out, d.bytes()...)
}

// ago is a moment, for people: how long ago and when.
func ago(t, now time.Time) string {
	return age(now.Sub(t)) + " ago (" + t.In(now.Location()).Format(time.DateTime) + ")"
}

func exitAgo(e *ipc.LastExit, now time.Time) string {
	if e == nil {
		return ""
	}
	return lastExitText(e) + ", " + age(now.Sub(e.At)) + " ago"
}

func cpuText(seconds float64) string {
	switch {
	case seconds <= 0:
		return ""
	case seconds < 60:
		return strconv.FormatFloat(seconds, 'f', 2, 64) + "s"
	}
	return age(time.Duration(seconds * float64(time.Second)))
}

// count is "1 instance", "3 instances".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}
