package ipc

import (
	"strings"
	"unsafe"
)

// maxServicesHint bounds what is reserved on the word of a document.
const maxServicesHint = 10_000

// text is doc as a string, without a copy: the whole cost of a short command
// is in the memory that it touches first. doc must not be changed afterwards,
// for the strings of what was read are parts of it.
func text(doc []byte) string { return unsafe.String(unsafe.SliceData(doc), len(doc)) }

// decodeStatus reads what appendStatus wrote, and keeps doc. Unknown fields are
// skipped.
func decodeStatus(doc []byte) (*Status, error) {
	p := &pull{s: text(doc)}
	st := &Status{}
	if n := strings.Count(p.s, `"instances_desired"`); n > 0 {
		st.Services = make([]Service, 0, min(n, maxServicesHint))
	}
	p.object(func(name string) {
		switch name {
		case "supervisor":
			p.supervisor(&st.Supervisor)
		case "services":
			st.Services = list(p, st.Services, p.service)
		default:
			p.skip()
		}
	})
	if err := p.end(); err != nil {
		return nil, err
	}
	return st, nil
}

// decodeService reads what appendService wrote, and keeps doc.
func decodeService(doc []byte) (*Service, error) {
	p := &pull{s: text(doc)}
	svc := &Service{}
	p.service(svc)
	if err := p.end(); err != nil {
		return nil, err
	}
	return svc, nil
}

// list reads an array; null is an empty one.
func list[T any](p *pull, into []T, one func(*T)) []T {
	into = into[:0]
	if into == nil {
		into = []T{}
	}
	p.array(func() {
		var zero T
		into = append(into, zero)
		one(&into[len(into)-1])
	})
	return into
}

func (p *pull) supervisor(s *Supervisor) {
	p.object(func(name string) {
		switch name {
		case "version":
			s.Version = p.string()
		case "pid":
			s.PID = p.int()
		case "keeper_pid":
			s.KeeperPID = p.int()
		case "started_at":
			s.StartedAt = p.timeOrZero()
		case "restarts":
			s.Restarts = p.int()
		case "cgroups":
			s.Cgroups = p.string()
		case "warnings":
			s.Warnings = list(p, s.Warnings, func(w *string) { *w = p.string() })
		case "checks":
			s.Checks = list(p, s.Checks, p.check)
		default:
			p.skip()
		}
	})
}

func (p *pull) service(s *Service) {
	p.object(func(name string) {
		switch name {
		case "name":
			s.Name = p.string()
		case "type":
			s.Type = p.string()
		case "mode":
			s.Mode = p.string()
		case "state":
			s.State = p.string()
		case "desired":
			s.Desired = p.string()
		case "reason":
			s.Reason = p.string()
		case "revision":
			s.Revision = p.int()
		case "instances_desired":
			s.InstancesDesired = p.int()
		case "update":
			p.update(&s.Update)
		case "instances":
			s.Instances = list(p, s.Instances, p.instance)
		case "quarantine":
			s.Quarantine = list(p, s.Quarantine, p.quarantined)
		case "availability":
			p.availability(&s.Availability)
		default:
			p.skip()
		}
	})
}

func (p *pull) update(u *Update) {
	p.object(func(name string) {
		switch name {
		case "state":
			u.State = p.string()
		case "from":
			u.From = p.int()
		case "to":
			u.To = p.int()
		default:
			p.skip()
		}
	})
}

func (p *pull) availability(a *Availability) {
	p.object(func(name string) {
		switch name {
		case "window_seconds":
			a.WindowSeconds = p.int()
		case "ratio":
			a.Ratio = p.float()
		case "mttr_seconds":
			a.MTTRSeconds = p.float()
		case "failures":
			a.Failures = p.int()
		default:
			p.skip()
		}
	})
}

func (p *pull) instance(in *Instance) {
	p.object(func(name string) {
		switch name {
		case "id":
			in.ID = p.string()
		case "index":
			in.Index = p.int()
		case "state":
			in.State = p.string()
		case "reason":
			in.Reason = p.string()
		case "status":
			in.Status = p.string()
		case "role":
			in.Role = p.string()
		case "pid":
			in.PID = p.int()
		case "revision":
			in.Revision = p.int()
		case "started_at":
			in.StartedAt = p.time()
		case "ready_at":
			in.ReadyAt = p.time()
		case "restarts":
			in.Restarts = p.int()
		case "last_exit":
			in.LastExit = p.lastExit()
		case "next_start_at":
			in.NextStartAt = p.time()
		case "memory_bytes":
			in.MemoryBytes = p.uint64()
		case "cpu_seconds":
			in.CPUSeconds = p.float()
		case "checks":
			in.Checks = list(p, in.Checks, p.check)
		case "cgroup":
			in.Cgroup = p.string()
		default:
			p.skip()
		}
	})
}

func (p *pull) lastExit() *LastExit {
	if p.null() {
		return nil
	}
	e := &LastExit{}
	p.object(func(name string) {
		switch name {
		case "reason":
			e.Reason = p.string()
		case "code":
			e.Code = p.int()
		case "signal":
			e.Signal = p.string()
		case "at":
			e.At = p.timeOrZero()
		default:
			p.skip()
		}
	})
	return e
}

func (p *pull) check(c *Check) {
	p.object(func(name string) {
		switch name {
		case "name":
			c.Name = p.string()
		case "state":
			c.State = p.string()
		case "output":
			c.Output = p.string()
		default:
			p.skip()
		}
	})
}

func (p *pull) quarantined(q *Quarantined) {
	p.object(func(name string) {
		switch name {
		case "id":
			q.ID = p.string()
		case "service":
			q.Service = p.string()
		case "instance":
			q.Instance = p.string()
		case "state":
			q.State = p.string()
		case "pid":
			q.PID = p.int()
		case "since":
			q.Since = p.timeOrZero()
		case "reason":
			q.Reason = p.string()
		case "memory_bytes":
			q.MemoryBytes = p.uint64()
		case "expires_at":
			q.ExpiresAt = p.timeOrZero()
		default:
			p.skip()
		}
	})
}
