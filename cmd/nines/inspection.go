package main

import (
	"maps"
	"slices"
	"strings"
	"time"

	"nines/supervisor/inspect"
)

// inspectionText is an inspection for people: what stands where first, then what it
// has.
func inspectionText(in *inspection, now time.Time, color bool) []byte {
	l := &lines{color: color, out: title(in.ID, in.State, "", color)}
	l.add(0, "reason: %s", in.Reason)
	l.add(0, "since %s ago, kept for %s more", age(now.Sub(in.Since)), age(in.ExpiresAt.Sub(now)))
	for i := range in.Processes {
		processText(l, &in.Processes[i])
	}
	if len(in.Cgroup.Files) > 0 {
		l.head("cgroup " + in.Cgroup.Path)
		for _, name := range slices.Sorted(maps.Keys(in.Cgroup.Files)) {
			text := in.Cgroup.Files[name]
			if name == "memory.stat" { // forty lines; --json has them
				continue
			}
			l.add(1, "%s: %s", name, strings.Join(strings.Split(text, "\n"), ", "))
		}
	}
	if len(in.Log) > 0 {
		l.head("last log lines")
		for i := range in.Log {
			l.add(1, "%s %s", in.Log[i].Time.Local().Format("15:04:05.000"), in.Log[i].Line)
		}
	}
	if len(in.Notes) > 0 {
		l.head("not to be had")
		for _, n := range in.Notes {
			l.add(1, "%s", n)
		}
	}
	return l.out
}

func processText(l *lines, p *inspect.Process) {
	deleted := ""
	if p.ExeDeleted {
		deleted = " (replaced or removed since)"
	}
	l.head("process " + pidText(p.PID) + " " + p.Name)
	l.add(1, "exe: %s%s", p.Exe, deleted)
	l.add(1, "cwd: %s", p.Cwd)
	l.add(1, "uid: %s", p.UID)
	m := &p.Memory
	l.add(1, "memory: %s resident, %s its share, %s private and dirty, %s anonymous, %s swapped; %d mappings",
		bytesText(m.RSS), bytesText(m.PSS), bytesText(m.PrivateDirty), bytesText(m.Anonymous), bytesText(m.Swap), p.Mappings)
	for i := range p.Largest {
		x := &p.Largest[i]
		l.add(2, "%x %s %s %s", x.Start, x.Perms, bytesText(x.Size), firstOf(x.Path, "anonymous"))
	}
	l.add(1, "threads:")
	for i := range p.Threads {
		t := &p.Threads[i]
		l.add(2, "%d %s: %s, in system call %s, waits in %s", t.TID, t.Name, t.State, firstOf(t.Syscall, "none"), firstOf(t.Wchan, "nothing"))
		for _, f := range t.UserStack {
			l.add(4, "%s", f.String())
		}
		for _, f := range t.KernelStack {
			l.add(4, "[kernel] %s", f)
		}
	}
	l.add(1, "open files:")
	for i := range p.Files {
		f := &p.Files[i]
		text := f.Path
		if s := f.Socket; s != nil {
			text = s.Kind + " " + firstOf(s.Local, "unnamed") + " " + s.State
			if s.Remote != "" {
				text += " to " + s.Remote
			}
		}
		l.add(2, "%d %s (%s)", f.FD, text, f.Flags)
	}
	l.add(1, "limits:")
	for _, x := range p.Limits {
		l.add(2, "%s: %s, hard %s %s", x.Name, x.Soft, x.Hard, x.Unit)
	}
	l.add(1, "environment (names): %s", strings.Join(p.EnvNames, " "))
	for _, n := range p.Notes {
		l.add(1, "%s", n)
	}
}
