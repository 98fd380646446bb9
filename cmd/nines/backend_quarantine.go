package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"nines/ipc"
	"nines/supervisor"
	"nines/supervisor/inspect"
	"nines/supervisor/logs"
	"nines/supervisor/policy"
	"nines/supervisor/proc"
)

// inspection is the document of `nines quarantine inspect`.
type inspection struct {
	ipc.Quarantined
	Processes []inspect.Process `json:"processes"` // the main process first
	Cgroup    cgroupFiles       `json:"cgroup"`
	Log       []ipc.LogLine     `json:"log"`   // the last lines of its instance when it was frozen, and what came before
	Notes     []string          `json:"notes"` // what could not be had, and why
}

// cgroupFiles are counters of a cgroup, by the kernel's names.
type cgroupFiles struct {
	Path  string            `json:"path"`
	Files map[string]string `json:"files"`
}

// evidenceLines is how many log lines an inspection has.
const evidenceLines = 50

// cgroupCounters are the files of a cgroup that an inspection shows; which there
// are depends on its controllers.
func cgroupCounters() []string {
	return []string{
		"cgroup.events", "cgroup.stat", "cpu.stat", "cpu.max", "cpu.pressure", "io.stat", "io.pressure",
		"memory.current", "memory.peak", "memory.high", "memory.max", "memory.swap.current", "memory.events", "memory.stat", "memory.pressure",
		"pids.current", "pids.peak", "pids.max", "pids.events",
	}
}

func quarantined(v *policy.InmateView, wall func(policy.Time) time.Time) ipc.Quarantined {
	at := func(t policy.Time) time.Time { return wall(t).UTC().Truncate(time.Millisecond) }
	return ipc.Quarantined{
		ID: v.ID, Service: v.Service, Instance: v.Instance, State: string(v.State), PID: v.PID, Since: at(v.Since), Reason: v.Why,
		MemoryBytes: v.Memory, ExpiresAt: at(v.Expires),
	}
}

func (b *backend) Quarantine(ctx context.Context, by ipc.Caller, id, verb string) (ipc.Result, error) {
	a, err := b.sup.Quarantine(ctx, id, verb == ipc.VerbResume, caller(by))
	return answer(a, err)
}

func (b *backend) evidence(ctx context.Context, id string) (*supervisor.Evidence, error) {
	e, err := b.sup.Evidence(ctx, id)
	if err != nil {
		return nil, ended(err)
	}
	if e == nil {
		return nil, &ipc.Error{Code: ipc.CodeNoSuchInstance, Message: fmt.Sprintf("cannot find %q in quarantine", id), Hint: "nines quarantine lists them"}
	}
	return e, nil
}

// Inspect is one at a time: it reads a lot.
func (b *backend) Inspect(ctx context.Context, id string) (json.RawMessage, error) {
	e, err := b.evidence(ctx, id)
	if err != nil {
		return nil, err
	}
	b.inspecting.Lock()
	defer b.inspecting.Unlock()
	doc := inspection{
		Quarantined: quarantined(&e.InmateView, b.sup.Wall()), Processes: []inspect.Process{}, Log: []ipc.LogLine{}, Notes: []string{},
		Cgroup: cgroupFiles{Files: map[string]string{}},
	}
	if e.Group == nil {
		doc.Notes = append(doc.Notes, "it has no cgroup: its processes are not known")
	} else {
		pids, err := e.Group.Procs()
		if err != nil {
			doc.Notes = append(doc.Notes, err.Error())
		}
		slices.SortFunc(pids, func(x, y int) int {
			switch e.PID {
			case x:
				return -1
			case y:
				return 1
			}
			return x - y
		})
		if len(pids) > inspect.MaxProcesses {
			doc.Notes = append(doc.Notes, fmt.Sprintf("%d more processes are not shown", len(pids)-inspect.MaxProcesses))
		}
		doc.Processes = append(doc.Processes, inspect.Inspect(pids)...)
		doc.Cgroup.Path = e.Group.Path()
		for _, file := range cgroupCounters() {
			if text, err := e.Group.Read(file); err == nil { // without its controller there is no such file
				doc.Cgroup.Files[file] = strings.TrimSpace(string(text))
			}
		}
	}
	doc.Notes = append(doc.Notes, "of registers only the program counter, the stack pointer and the arguments of a system call can be had without waking it; kernel stacks of a frozen thread are those of the freezer")
	err = b.Logs(ctx, ipc.LogQuery{Instances: []string{e.Instance}, Lines: 20 * evidenceLines}, func(l ipc.LogLine) error {
		if !l.Time.After(doc.Since) || e.State != policy.IsFrozen {
			doc.Log = append(doc.Log, l)
		}
		return nil
	})
	if err != nil {
		doc.Notes = append(doc.Notes, fmt.Sprintf("its last log lines cannot be had from %s: %v", logs.SocketName, err))
	}
	doc.Log = doc.Log[max(0, len(doc.Log)-evidenceLines):]
	return json.Marshal(&doc)
}

// core is a core to be sent.
type core struct{ *inspect.Core }

func (c core) Length() int64 { return c.Size }

func (b *backend) Core(ctx context.Context, id string) (ipc.Core, error) {
	e, err := b.evidence(ctx, id)
	if err != nil {
		return nil, err
	}
	if e.PID == 0 || e.State != policy.IsFrozen {
		return nil, &ipc.Error{
			Code: ipc.CodeConflict, Message: "cannot write a core of " + id + ": it does not stand still",
			Hint: "attach a debugger to what runs: its pid is in nines quarantine",
		}
	}
	c, err := inspect.OpenCore(e.PID)
	if err != nil {
		return nil, &ipc.Error{Code: ipc.CodeFailed, Message: err.Error()}
	}
	// The pid was this process's when the memory was opened, if it still is.
	if start, err := proc.StartTime(e.PID); err != nil || start != e.Start {
		_ = c.Close() // nothing was read of it
		return nil, &ipc.Error{Code: ipc.CodeConflict, Message: "cannot write a core of " + id + ": it has just ended"}
	}
	return core{c}, nil
}
