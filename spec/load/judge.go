package load

import (
	"fmt"
	"path"
	"strings"
	"time"

	"nines/spec"
)

// judge looks at a service as a whole, for what its blocks together make
// impossible.
func (b *block) judge(s *spec.Service) {
	if s.Type == spec.TypeTask {
		b.judgeTask(s)
	}
	b.judgeMode(s)
	b.judgeRecycle(s)
	b.judgeMemory(s)
	b.judgeUpdate(s)
	b.judgeData(s)
	b.judgeReady(s)
	b.judgeChecks(s)
	for _, p := range s.Ports {
		if last := p.Base + s.Instances - 1; p.Base > 0 && last > 65535 {
			b.d.errorAt("conflict", b.place("port", p.Name), fmt.Sprintf("port %q needs the ports %s to %s, and the last there is is 65535", p.Name, b.shownPort(p.Base), b.shownPort(last)), "Lower base, or the number of instances.")
		}
	}
}

// instances prints how many there are, for a diagnostic.
func (b *block) instances(s *spec.Service) string {
	return b.shown("service.instances", s.Instances)
}

// shownPort prints a port that was reckoned from a base and the instances.
func (b *block) shownPort(n int) string {
	if b.d.tainted[b.taintKey("service.instances")] {
		return fromEnv
	}
	return b.shown("service.port.base", n)
}

func (b *block) judgeTask(s *spec.Service) {
	if s.Instances == 0 {
		b.errorAt("instances", "conflict", "a task without instances never completes", "Leave instances out, or write enabled = false.")
	}
	for _, x := range []struct {
		given       bool
		block, why  string
		instruction string
	}{
		{s.Ready != nil, "ready", "a task is not ready, it completes", "Leave it out: what needs a task waits until it has ended with success."},
		{s.Recycle != nil, "recycle", "a task runs to completion and is not replaced", "Leave it out."},
		{b.hasSub("update"), "update", "a task runs once a boot and revision, so there is nothing to roll over", "Leave it out."},
	} {
		if x.given {
			b.d.errorAt("conflict", b.place(x.block, ""), x.why, x.instruction)
		}
	}
	if s.Mode == spec.ActivePassive {
		b.errorAt("mode", "conflict", "a task has no standby", `Leave mode out, or write type = "service".`)
	}
}

// judgeRecycle says what keeps planned replacement from ever happening.
func (b *block) judgeRecycle(s *spec.Service) {
	if s.Recycle == nil {
		return
	}
	if c := b.d.newBlock(b, b.subBlock("recycle")); c.has("schedule") && c.has("jitter") {
		b.d.warnAt("ineffective", c.at("jitter"), "jitter spreads max_age; a schedule is kept to the minute", "Leave it out: replicas are replaced one at a time anyway.")
	}
	if s.AvailableSet && s.Instances > 0 && s.AvailableAtLeast >= s.Instances {
		b.d.warnAt("ineffective", b.place("recycle", ""), fmt.Sprintf("no instance is ever recycled: available_at_least keeps all %s ready", b.instances(s)), "Lower available_at_least, or raise instances.")
	}
}

// judgeMemory says what keeps an instance that is too large from being replaced.
func (b *block) judgeMemory(s *spec.Service) {
	m := s.Limits.Memory
	if m == nil || m.RestartAbove.IsZero() && (m.Growth.Count == 0 || m.OnLeak != "restart") {
		return
	}
	if s.AvailableSet && s.Instances > 0 && s.AvailableAtLeast >= s.Instances {
		b.d.warnAt("ineffective", b.place("memory", ""), fmt.Sprintf("no instance that is ready is ever replaced because of its memory: available_at_least keeps all %s ready", b.instances(s)), "Lower available_at_least, or raise instances.")
	}
	if s.Restart.Policy == spec.RestartNever {
		b.d.warnAt("ineffective", b.place("memory", ""), `an instance that uses too much memory is ended and not started again: restart.policy is "never"`, `Write restart { policy = "on-failure" }, or on_leak = "alert" and no restart_above.`)
	}
}

func (b *block) judgeMode(s *spec.Service) {
	switch {
	case s.Mode == spec.ActivePassive && s.Instances < 2 && s.Type != spec.TypeTask:
		at := "instances"
		if !b.has(at) {
			at = "mode"
		}
		b.errorAt(at, "conflict", fmt.Sprintf("active-passive needs at least 2 instances, and there are %s", b.instances(s)), "Write instances = 2: one is active, the other its standby.")
	case s.Mode != spec.ActivePassive && s.Standby != nil:
		b.d.errorAt("conflict", b.place("standby", ""), "a standby block belongs to an active-passive service", `Write mode = "active-passive", or leave the block out.`)
	case s.Mode == spec.ActivePassive && s.Standby == nil:
		s.Standby = defaultStandby()
	}
}

func (b *block) judgeUpdate(s *spec.Service) {
	u := b.subBlock("update")
	if u == nil {
		return
	}
	c := b.d.newBlock(b, u)
	// The default may exceed instances: what people scale to bounds it, not what
	// the specification says.
	if c.has("canary") && s.Update.Canary > s.Instances {
		c.errorAt("canary", "conflict", fmt.Sprintf("canary is %s, and there are only %s instances", b.shown("service.update.canary", s.Update.Canary), b.instances(s)), "Lower canary, or raise instances.")
	}
	if c.has("max_parallel") && s.Update.MaxParallel > max(1, s.Instances) {
		b.d.warnAt("ineffective", c.at("max_parallel"), fmt.Sprintf("max_parallel is %s, and there are only %s instances", b.shown("service.update.max_parallel", s.Update.MaxParallel), b.instances(s)), "All are updated at once.")
	}
	if s.Update.Order == "start-first" {
		switch {
		case s.Mode == spec.ActivePassive:
			c.errorAt("order", "conflict", "an active-passive service is updated stop-first: two actives must never be", `Leave order out, or write order = "stop-first".`)
		case s.Data != nil:
			c.errorAt("order", "conflict", "a service with a data block is updated stop-first: two revisions must not write the same data", `Leave order out, or write order = "stop-first".`)
		}
	}
}

// judgeData says what of a data block could not be put back, and what does not hold
// while it is.
func (b *block) judgeData(s *spec.Service) {
	if s.Data == nil {
		return
	}
	c := b.d.newBlock(b, b.subBlock("data"))
	within := func(p, dir string) bool { return p == dir || strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/") }
	for i, p := range s.Data.Paths {
		if path.Clean(p) == "/" {
			c.errorAt("paths", "conflict", "/ cannot be put back", "Name the folders that hold the service's state.")
			return
		}
		for _, o := range s.Data.Paths[i+1:] {
			if p, o := path.Clean(p), path.Clean(o); within(p, o) || within(o, p) {
				c.errorAt("paths", "conflict", fmt.Sprintf("%s and %s hold the same: one is within the other", p, o), "Name the outer one alone.")
				return
			}
		}
		if r := s.Release; r != nil && s.Data.Restore && within(path.Clean(r.Path), path.Clean(p)) {
			b.d.warnAt("ineffective", c.at("paths"), fmt.Sprintf("the release at %s is put back with the data: an earlier file there is a deploy of it", r.Path), "Keep programs and data in different folders.")
		}
	}
	if s.AvailableSet && s.AvailableAtLeast > 0 && s.Instances > 0 {
		b.d.warnAt("ineffective", b.at("available_at_least"), "available_at_least does not hold while a service with a data block is updated: all of it stops, so that nothing writes while its data are kept", "Leave available_at_least out, or the data block.")
	}
}

func (b *block) judgeReady(s *spec.Service) {
	if s.Ready == nil {
		return
	}
	// SD_LISTEN_FDS_START is 3.
	if last := 2 + len(s.Listen); s.Ready.FD != 0 && s.Ready.FD <= last {
		c := b.d.newBlock(b, b.subBlock("ready"))
		c.errorAt("fd", "conflict", fmt.Sprintf("descriptor %s is one of those that the listen blocks get (3 to %d)", b.shown("service.ready.fd", s.Ready.FD), last), fmt.Sprintf("Write fd = %d.", last+1))
	}
	var wait time.Duration
	what := "delay"
	if wait = s.Ready.Delay; s.Ready.Check != nil {
		wait, what = s.Ready.Check.Timing.InitialDelay, "initial_delay"
	}
	if wait > 0 && wait >= s.StartTimeout {
		c := b.d.newBlock(b, b.subBlock("ready"))
		c.errorAt(what, "conflict", fmt.Sprintf("%s (%s) is not shorter than start.timeout (%s): no start could succeed", what, b.shown("service.ready."+what, wait), b.shown("service.start.timeout", s.StartTimeout)), "Write start { timeout = … } with a longer time.")
	}
}

func (b *block) judgeChecks(s *spec.Service) {
	fixed := false // has an address that a replacement could not take
	for _, p := range s.Ports {
		fixed = fixed || p.Base > 0
	}
	b.judgePatterns(s)
	for _, c := range s.Checks {
		if c.Outlier != nil && s.Instances < 3 {
			b.d.warnAt("ineffective", b.place("check", c.Name), fmt.Sprintf("check %q compares replicas, and %s are too few: it never fails", c.Name, b.instances(s)), "It takes at least 3 instances.")
		}
		if c.OnFailure != spec.OnFailureIsolate {
			continue
		}
		if s.Isolate == nil {
			s.Isolate = defaultIsolate()
		}
		switch {
		case s.Data != nil:
			b.d.warnAt("isolate_restarts", b.place("check", c.Name), fmt.Sprintf("check %q restarts instead of isolating: the service has a data block", c.Name), "A frozen instance would keep its locks on the data.")
		case fixed:
			b.d.warnAt("isolate_restarts", b.place("check", c.Name), fmt.Sprintf("check %q restarts instead of isolating: the service has a port with a base", c.Name), "A frozen instance would keep its port. Use a listen block, or a port block without base.")
		}
	}
}

// judgePatterns bounds what nines-log is told with each start: every line of the
// service is tried with all of them.
func (b *block) judgePatterns(s *spec.Service) {
	patterns := s.LogPatterns()
	size := 0
	for _, p := range patterns {
		size += len(p.Pattern)
	}
	if len(patterns) > spec.MaxLogPatterns || size > spec.MaxLogPatternBytes {
		b.d.errorAt("too_large", b.def, fmt.Sprintf("%s has too many log patterns, or too long ones: %d, and %d bytes of all together, are the most", b.title, spec.MaxLogPatterns, spec.MaxLogPatternBytes), `Write one for several: "ERROR|panic".`)
	}
}
