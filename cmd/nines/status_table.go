package main

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"nines/ipc"
)

// newStatusTable is the table of `nines status`.
func newStatusTable(people, color bool, width int) *table {
	t := newTable(people, color, width)
	t.header("NAME", "STATE", "READY", "RESTARTS", "PID", "UPTIME", "MEMORY", "REASON")
	t.right(3, 4, 5, 6)
	return t
}

// statusRows adds a row for each service, and below it one for each of its
// instances. A service that has one instance is one row.
func statusRows(t *table, services []ipc.Service, now time.Time) {
	t.reserve(len(services))
	for i := range services {
		svc := &services[i]
		if len(svc.Instances) == 1 && svc.InstancesDesired <= 1 {
			serviceRow(t, svc, &svc.Instances[0], now)
			continue
		}
		serviceRow(t, svc, nil, now)
		for j := range svc.Instances {
			in := &svc.Instances[j]
			name := in.ID
			if t.people {
				name = "  " + name
			}
			instanceRow(t, in, name, now)
		}
	}
}

// serviceRow is the row of a service; only is its instance where it has one.
func serviceRow(t *table, svc *ipc.Service, only *ipc.Instance, now time.Time) {
	restarts, memory := 0, uint64(0)
	for i := range svc.Instances {
		restarts += svc.Instances[i].Restarts
		memory += svc.Instances[i].MemoryBytes
	}
	pid, uptime, reason := "", "", firstOf(svc.Reason, updateText(svc.Update))
	if only != nil {
		pid, uptime = pidText(only.PID), uptimeText(only, now)
		reason = firstOf(instanceReason(only, now), reason)
	}
	t.row(
		cell{svc.Name, bold}, cell{svc.State, stateColor(svc.State)}, cell{readyText(svc), plain},
		cell{strconv.Itoa(restarts), restartColor(restarts)}, cell{pid, plain}, cell{uptime, plain},
		cell{memoryText(memory), plain}, cell{reason, plain},
	)
}

func instanceRow(t *table, in *ipc.Instance, name string, now time.Time) {
	t.row(
		cell{name, plain}, cell{in.State, stateColor(in.State)}, cell{"", plain},
		cell{strconv.Itoa(in.Restarts), restartColor(in.Restarts)}, cell{pidText(in.PID), plain},
		cell{uptimeText(in, now), plain}, cell{memoryText(in.MemoryBytes), plain}, cell{instanceReason(in, now), plain},
	)
}

// readyText is "ready/desired"; a task runs to its end and is never ready.
func readyText(svc *ipc.Service) string {
	ready := svc.ReadyInstances()
	if svc.Type == "task" {
		ready = 0
		for i := range svc.Instances {
			if svc.Instances[i].State == "completed" {
				ready++
			}
		}
	}
	return strconv.Itoa(ready) + "/" + strconv.Itoa(svc.InstancesDesired)
}

// updateText says how far an update is; "": there is none.
func updateText(u ipc.Update) string {
	to, from := strconv.Itoa(u.To), strconv.Itoa(u.From)
	switch u.State {
	case "canary":
		return "revision " + to + " is tried by its canary, in place of " + from
	case "rolling":
		return "revision " + to + " replaces " + from
	case "reverting":
		return "revision " + to + " comes back, in place of " + from
	}
	return ""
}

// instanceReason says why an instance is in its state, and when it is started
// again.
func instanceReason(in *ipc.Instance, now time.Time) string {
	reason := in.Reason
	if reason == "" && in.LastExit != nil && in.State != "ready" && in.State != "stopped" {
		reason = lastExitText(in.LastExit)
	}
	if in.State == "backoff" && in.NextStartAt != nil {
		next := "next start in " + soon(in.NextStartAt.Sub(now))
		if reason == "" {
			return next
		}
		reason += "; " + next
	}
	if reason == "" && in.Status != "" {
		reason = strconv.Quote(in.Status) // its own words
	}
	return reason
}

// lastExitText says how an incarnation ended.
func lastExitText(e *ipc.LastExit) string {
	how := "exited with code " + strconv.Itoa(e.Code)
	if e.Signal != "" {
		how = "killed by " + e.Signal
	}
	switch e.Reason {
	case "exited", "signaled":
		return how
	case "oom":
		return "out of memory"
	case "start_timeout":
		return "not ready in time"
	case "check_failed":
		return "a check failed"
	case "memory":
		return "too much memory"
	case "stop":
		return "stopped (" + how + ")"
	}
	return firstOf(strings.ReplaceAll(e.Reason, "_", " "), how)
}

func pidText(pid int) string {
	if pid == 0 {
		return ""
	}
	return strconv.Itoa(pid)
}

// uptimeText is the age of the process, where there is one.
func uptimeText(in *ipc.Instance, now time.Time) string {
	if in.PID == 0 || in.StartedAt == nil {
		return ""
	}
	return age(now.Sub(*in.StartedAt))
}

func memoryText(n uint64) string {
	if n == 0 {
		return ""
	}
	return bytesText(n)
}

func restartColor(n int) string {
	if n > 0 {
		return yellow
	}
	return plain
}

// warnings are what the supervisor wants to be known, and the checks of the
// machine that do not pass, below the table.
func warnings(st *ipc.Status, color bool) []byte {
	var b []byte
	for _, c := range st.Supervisor.Checks {
		switch c.State {
		case "failing":
			b = append(b, paint(color, red, "machine")+": check "+c.Name+" fails: "+printable(c.Output)+"\n"...)
		case "unknown":
			if c.Output != "" {
				b = append(b, paint(color, yellow, "machine")+": check "+c.Name+" is not known to pass: "+printable(c.Output)+"\n"...)
			}
		}
	}
	for _, w := range st.Supervisor.Warnings {
		b = append(b, paint(color, yellow, "warning")+": "+printable(w)+"\n"...)
	}
	return b
}

// cell is one field of a table.
type cell struct{ text, color string }

// table gathers rows. For people it has a header, aligned columns and, on a
// colour terminal, colours; for programs its columns are separated by tabs and
// an empty one is "-".
type table struct {
	people, color bool
	width         int // of the terminal; 0: unknown
	head          []string
	rightAligned  []int
	cells         []cell // row after row; for people
	out           []byte // for programs: nothing has to be aligned, so nothing is kept
}

func newTable(people, color bool, width int) *table {
	return &table{people: people, color: color, width: width}
}

func (t *table) header(names ...string) { t.head = names }

func (t *table) right(columns ...int) { t.rightAligned = columns }

// reserve makes room for so many rows.
func (t *table) reserve(rows int) {
	if t.people {
		t.cells = slices.Grow(t.cells, rows*len(t.head))
	} else {
		t.out = slices.Grow(t.out, rows*64)
	}
}

func (t *table) row(cells ...cell) {
	for i := range cells {
		cells[i].text = printable(cells[i].text)
		if cells[i].text == "" {
			cells[i] = cell{"-", dim}
		}
	}
	if !t.people {
		for i := range cells {
			t.out = append(append(t.out, cells[i].text...), '\t')
		}
		t.out[len(t.out)-1] = '\n'
		return
	}
	t.cells = append(t.cells, cells...)
}

func (t *table) bytes() []byte {
	if !t.people {
		return t.out
	}
	n := len(t.head)
	out := make([]byte, 0, (len(t.cells)+n)*16)
	all := make([]cell, 0, n+len(t.cells))
	for _, h := range t.head {
		all = append(all, cell{h, dim})
	}
	all = append(all, t.cells...)
	widths := make([]int, n)
	for i, c := range all {
		widths[i%n] = max(widths[i%n], columns(c.text))
	}
	room := 0 // what the last column may take
	if t.width > 0 {
		room = t.width
		for _, w := range widths[:n-1] {
			room -= w + 2
		}
		room = max(room, 10)
	}
	for i, c := range all {
		col := i % n
		text := c.text
		if col == n-1 {
			if room > 0 {
				text = shorten(text, room)
			}
			if text != "-" { // nothing to say needs no mark at the end of a line
				out = append(out, paint(t.color, c.color, text)...)
			}
			out = append(trimSpaces(out), '\n')
			continue
		}
		pad := strings.Repeat(" ", widths[col]-columns(text))
		if slices.Contains(t.rightAligned, col) {
			out = append(append(out, pad...), paint(t.color, c.color, text)...)
		} else {
			out = append(append(out, paint(t.color, c.color, text)...), pad...)
		}
		out = append(out, "  "...)
	}
	return out
}

// trimSpaces removes padding before the end of a line.
func trimSpaces(b []byte) []byte {
	for len(b) > 0 && b[len(b)-1] == ' ' {
		b = b[:len(b)-1]
	}
	return b
}

// columns counts runes: names and numbers here are one column each.
func columns(s string) int {
	n := 0
	for range s {
		n++
	}
	return n
}

// shorten cuts s to n columns.
func shorten(s string, n int) string {
	if columns(s) <= n {
		return s
	}
	r := []rune(s)
	return string(r[:max(n-1, 0)]) + "…"
}
