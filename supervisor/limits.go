package supervisor

import (
	"errors"
	"os"
	"slices"
	"strings"
	"sync"

	"nines/cgroups"
	"nines/spec"
	"nines/spec/load"
	"nines/supervisor/journal"
	"nines/supervisor/policy"
	"nines/supervisor/proc"
)

// limits are the resource blocks of a service as settings of cgroups. Weights
// say how services share what is scarce, so they are set on the service's
// folder: its instances share alike. All else is each instance's own.
type limits struct {
	instance []cgroups.Setting
	folder   []cgroups.Setting
	required map[string]bool // by controller
	low      uint64          // memory.low of an instance
}

// limitsOf reads the blocks; memory is what shares of it are shares of, 0 when
// that is not known, and then shares are left out.
func limitsOf(svc *spec.Service, memory uint64) *limits {
	// The memory killer takes the whole instance, whoever set the limit: a half of
	// one is worth nothing, and an end of all of it is seen and mended.
	of := cgroups.Limits{OOMGroup: true}
	var all cgroups.Limits
	l := &limits{required: map[string]bool{}}
	size := func(s spec.Size) *uint64 {
		if s.IsZero() || s.Percent > 0 && memory == 0 {
			return nil
		}
		n := s.Resolve(memory)
		return &n
	}
	if m := svc.Limits.Memory; m != nil {
		of.MemoryLow, of.MemoryHigh, of.MemoryMax = size(m.Low), size(m.High), size(m.Max)
		if of.MemoryLow != nil {
			l.low = *of.MemoryLow
		}
		if m.SwapSet {
			n := m.Swap.Resolve(memory)
			of.SwapMax = &n
		}
		l.required["memory"] = m.Required
	}
	if c := svc.Limits.CPU; c != nil {
		of.CPUMax, all.CPUWeight = c.Max/100, c.Weight
		l.required["cpu"] = c.Required
	}
	if p := svc.Limits.Pids; p != nil {
		of.PidsMax = p.Max
		l.required["pids"] = p.Required
	}
	if i := svc.Limits.IO; i != nil {
		all.IOWeight = i.Weight
		l.required["io"] = i.Required
	}
	l.instance, l.folder = of.Settings(), all.Settings()
	return l
}

// asked says whether the spec asks for a setting: oom.group is our own.
func asked(s cgroups.Setting) bool { return s.File != "memory.oom.group" }

// Unenforced is what a spec asks of a service that cannot be done here.
type Unenforced struct {
	Service    *spec.Service
	Controller string
	Files      []string // "memory.max"
	Required   bool
	Why        string
}

func (u *Unenforced) summary() string {
	verb := " is"
	if len(u.Files) > 1 {
		verb = " are"
	}
	return strings.Join(u.Files, " and ") + " of service " + u.Service.Name + verb + " not enforced: there is no " + u.Controller + " controller"
}

// remedy says what to do about it.
func (u *Unenforced) remedy() string {
	return u.Why + ". Give nines a cgroup v2 of its own with the " + u.Controller + " controller (a systemd unit: Delegate=yes; " +
		"a container: its own cgroup namespace, /sys/fs/cgroup writable; a machine with cgroup v1: cgroup_no_v1=all on the kernel's command line), or leave the limit out."
}

// String is one line for `nines status`.
func (u *Unenforced) String() string { return u.summary() + ": " + u.remedy() }

// Diagnostic is the error that a required limit makes of it.
func (u *Unenforced) Diagnostic() load.Diagnostic {
	p := u.Service.Pos
	return load.Diagnostic{
		Severity: load.SeverityError, Code: "not_enforceable", File: p.File, Line: p.Line, Column: p.Column,
		Summary: u.summary() + ", and it says required", Detail: u.remedy(),
	}
}

// FindUnenforced lists the limits of a spec that the cgroups here cannot
// enforce: the controllers are missing, for the reason why. t is nil where there
// are no cgroups at all.
func FindUnenforced(services []*spec.Service, t *cgroups.Tree, why string) []Unenforced {
	var have []string
	if t != nil {
		have = t.Controllers()
	}
	var found []Unenforced
	for _, svc := range services {
		l := limitsOf(svc, 1) // only what is set counts here, not to how much
		by := map[string]int{}
		for _, s := range slices.Concat(l.instance, l.folder) {
			if !asked(s) || slices.Contains(have, s.Controller) {
				continue
			}
			i, ok := by[s.Controller]
			if !ok {
				i = len(found)
				by[s.Controller] = i
				found = append(found, Unenforced{Service: svc, Controller: s.Controller, Required: l.required[s.Controller], Why: why})
			}
			found[i].Files = append(found[i].Files, s.File)
		}
	}
	return found
}

// limiter sets limits. The spawner alone calls set; refused may be asked by
// anyone.
type limiter struct {
	s      *Supervisor
	memory uint64
	of     map[*spec.Service]*limits
	low    map[string]uint64 // memory.low of each service's folder

	mu   sync.Mutex
	said map[string]string // by service and file: what the kernel refused
}

func newLimiter(s *Supervisor, host *load.Host) *limiter {
	l := &limiter{s: s, of: map[*spec.Service]*limits{}, low: map[string]uint64{}, said: map[string]string{}}
	if host != nil {
		l.memory = host.Memory
	}
	return l
}

// apply forgets what no longer runs.
func (l *limiter) apply(sp *spec.Spec) {
	clear(l.of)
	names := map[string]bool{}
	for _, svc := range sp.Services {
		names[svc.Name] = true
	}
	for name := range l.low {
		if !names[name] {
			delete(l.low, name)
		}
	}
	l.mu.Lock()
	clear(l.said) // what still is refused is said again
	l.mu.Unlock()
}

// set limits a group before anything is born in it. An error is of a limit that
// is required; what is not is said, and the instance runs without it.
func (l *limiter) set(in *incarnation, g *cgroups.Group) error {
	svc := in.svc
	of := l.of[svc]
	if of == nil {
		of = limitsOf(svc, l.memory)
		l.of[svc] = of
	}
	var have []string
	var folder *cgroups.Group
	if t := l.s.cfg.Cgroups; t != nil { // else nothing is had, and nothing set
		have, folder = t.Controllers(), t.Group(svc.Name)
	}
	for _, s := range of.folder {
		if err := l.one(in, folder, s, of, have); err != nil {
			return err
		}
	}
	if of.low > 0 && slices.Contains(have, "memory") {
		l.protect(in, folder, of.low)
	}
	for _, s := range of.instance {
		if err := l.one(in, g, s, of, have); err != nil {
			return err
		}
	}
	return nil
}

func (l *limiter) one(in *incarnation, g *cgroups.Group, s cgroups.Setting, of *limits, have []string) error {
	var err error
	if slices.Contains(have, s.Controller) {
		err = g.Set(s)
	} else if of.required[s.Controller] {
		err = errNoController
	}
	if err == nil || !asked(s) {
		return nil // without oom.group the kernel picks a process by itself
	}
	if of.required[s.Controller] {
		return &proc.Error{Step: proc.StepLimit, Path: s.File, Err: err}
	}
	l.say(in.svc.Name, s.File, err)
	return nil
}

var errNoController = errors.New("its controller is not available, and it is required")

// protect lets memory.low of instances count: the kernel protects a group no
// further than those above it are protected. It is no error if it cannot be:
// then the instances' own setting could not be made either, or says the rest.
func (l *limiter) protect(in *incarnation, folder *cgroups.Group, low uint64) {
	want := low * uint64(max(in.svc.Instances, in.index+1))
	if l.low[in.svc.Name] >= want {
		return
	}
	l.low[in.svc.Name] = want
	sum := uint64(0)
	for _, n := range l.low {
		sum += n
	}
	top := cgroups.Limits{MemoryLow: &sum}
	mine := cgroups.Limits{MemoryLow: &want}
	err := errors.Join(l.s.cfg.Cgroups.Group(".").Set(top.Settings()[0]), folder.Set(mine.Settings()[0]))
	if err != nil {
		l.say(in.svc.Name, "memory.low", err)
	}
}

// say tells of a limit that the kernel refused, once.
func (l *limiter) say(service, file string, err error) {
	key := service + " " + file
	text := file + " of service " + service + " is not enforced: " + err.Error()
	if errors.Is(err, os.ErrNotExist) {
		text += ": this kernel does not offer it"
	}
	l.mu.Lock()
	old := l.said[key]
	l.said[key] = text
	l.mu.Unlock()
	if old == "" {
		l.s.note(journal.Entry{Kind: journal.KindLimit, Service: service, Text: text})
		l.s.log.Warn(text)
	}
}

// Warnings are the limits that the kernel has refused, for `nines status`.
func (s *Supervisor) Warnings() []string {
	l := s.spawner.limits
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []string
	for _, text := range l.said {
		all = append(all, text)
	}
	slices.Sort(all)
	return all
}

// statusOf is how the main process of in ended; it asks its cgroup whether it
// was the kernel's memory killer. So it is to be asked before that is given to
// the janitor.
func (s *Supervisor) statusOf(in *incarnation, st proc.Status) policy.Status {
	return policy.Status{Code: st.Code, Signal: st.Signal, Core: st.Core, OOM: st.Signal == "SIGKILL" && s.oomKilled(in)}
}

func (s *Supervisor) oomKilled(in *incarnation) bool {
	if in.group == nil {
		return false
	}
	killed, err := in.group.OOMKilled()
	if err != nil {
		s.log.Warn("cannot tell whether it was killed for its memory", "incarnation", in.name, "err", err)
	}
	return killed
}
