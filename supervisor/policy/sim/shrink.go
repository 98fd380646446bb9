package sim

import (
	"slices"
	"time"

	"nines/spec"
)

// Shrink looks for a smaller scenario that breaks the same invariant: fewer
// services, fewer commands, fewer kinds of faults, plainer services, less time.
// It runs the machine at most tries times, and returns the smallest scenario
// it found with its result, trace included.
//
// Chance is keyed by names (see chance), so what is left out changes little of
// what remains.
func Shrink(s *Scenario, tries int) (*Scenario, *Result) {
	return shrink(s, tries, func(s *Scenario) *Result { return Run(s, Options{Trace: true}) })
}

func shrink(s *Scenario, tries int, run func(*Scenario) *Result) (*Scenario, *Result) {
	res := run(s)
	if res.Failure == nil {
		return s, res
	}
	sh := &shrinker{best: s, res: res, tries: tries, run: run}
	for again := true; again && sh.tries > 0; {
		again = false
		for _, pass := range []func() bool{sh.time, sh.script, sh.services, sh.edits, sh.faults, sh.edges, sh.plain} {
			again = pass() || again
		}
	}
	return sh.best, sh.res
}

type shrinker struct {
	best  *Scenario
	res   *Result
	tries int
	run   func(*Scenario) *Result
}

// try keeps a candidate that breaks the same invariant.
func (sh *shrinker) try(s *Scenario) bool {
	if sh.tries <= 0 {
		return false
	}
	sh.tries--
	res := sh.run(s)
	if res.Failure == nil || res.Failure.Invariant != sh.res.Failure.Invariant {
		return false
	}
	sh.best, sh.res = s, res
	return true
}

// clone copies a scenario as deep as the passes change it.
func (sh *shrinker) clone() *Scenario {
	c := *sh.best
	sp := *c.Spec
	sp.Services = make([]*spec.Service, len(c.Spec.Services))
	for i, svc := range c.Spec.Services {
		v := *svc
		v.Needs, v.After = slices.Clone(svc.Needs), slices.Clone(svc.After)
		sp.Services[i] = &v
	}
	sp.Groups = slices.Clone(c.Spec.Groups)
	for i := range sp.Groups {
		sp.Groups[i].Members = slices.Clone(sp.Groups[i].Members)
	}
	c.Spec = &sp
	c.Script = slices.Clone(c.Script)
	for i, a := range c.Script {
		if a.Apply != nil {
			c.Script[i].Apply = &Apply{Edits: slices.Clone(a.Apply.Edits)}
		}
	}
	return &c
}

// time leaves out what comes after the failure, then brings calm earlier.
func (sh *shrinker) time() bool {
	any := false
	at := sh.res.Failure.At
	if at < sh.best.Calm {
		c := sh.clone()
		c.Script = slices.DeleteFunc(c.Script, func(a Act) bool { return a.At > at })
		if len(c.Script) < len(sh.best.Script) {
			any = sh.try(c) || any
		}
	}
	for _, part := range []int{2, 4, 8} {
		c := sh.clone()
		c.Calm -= c.Calm / time.Duration(part)
		c.Script = slices.DeleteFunc(c.Script, func(a Act) bool { return a.At > c.Calm })
		any = sh.try(c) || any
	}
	return any
}

// script leaves out halves, quarters, … and single acts.
func (sh *shrinker) script() bool {
	any := false
	for size := len(sh.best.Script); size > 0; size /= 2 {
		for lo := 0; lo < len(sh.best.Script); {
			c := sh.clone()
			c.Script = slices.Delete(c.Script, lo, min(lo+size, len(c.Script)))
			if sh.try(c) {
				any = true
			} else {
				lo += size
			}
		}
	}
	return any
}

// services leaves out one service after the other, with all that names it.
func (sh *shrinker) services() bool {
	any := false
	for i := 0; i < len(sh.best.Spec.Services) && len(sh.best.Spec.Services) > 1; {
		c := sh.clone()
		name := c.Spec.Services[i].Name
		c.Spec.Services = slices.Delete(c.Spec.Services, i, i+1)
		is := func(s string) bool { return s == name }
		for _, svc := range c.Spec.Services {
			svc.Needs, svc.After = slices.DeleteFunc(svc.Needs, is), slices.DeleteFunc(svc.After, is)
		}
		for i := range c.Spec.Groups {
			c.Spec.Groups[i].Members = slices.DeleteFunc(c.Spec.Groups[i].Members, is)
		}
		for _, a := range c.Script {
			if a.Apply != nil {
				a.Apply.Edits = slices.DeleteFunc(a.Apply.Edits, func(e Edit) bool { return e.Service == name })
			}
		}
		c.Script = slices.DeleteFunc(c.Script, func(a Act) bool {
			return a.Command != nil && a.Command.Service == name || a.Crash != nil && a.Crash.Service == name ||
				a.Judge != nil && a.Judge.Service == name ||
				a.Attempt != nil && a.Attempt.Service == name ||
				a.Inmate != nil && a.Inmate.Service == name
		})
		if sh.try(c) {
			any = true
		} else {
			i++
		}
	}
	return any
}

// edits leaves out single edits of applies.
func (sh *shrinker) edits() bool {
	any := false
	for i := range sh.best.Script {
		for j := 0; sh.best.Script[i].Apply != nil && j < len(sh.best.Script[i].Apply.Edits); {
			c := sh.clone()
			a := c.Script[i].Apply
			a.Edits = slices.Delete(a.Edits, j, j+1)
			if sh.try(c) {
				any = true
			} else {
				j++
			}
		}
	}
	return any
}

// faults turns off one kind of fault after the other.
func (sh *shrinker) faults() bool {
	any := false
	for i := range faultKinds(&Faults{}) {
		c := sh.clone()
		if f := faultKinds(&c.Faults)[i]; *f != 0 {
			*f = 0
			any = sh.try(c) || any
		}
	}
	return any
}

func faultKinds(f *Faults) []*int {
	return []*int{
		&f.SpawnFails, &f.SpawnAgain, &f.SpawnHangs, &f.Crash, &f.Fatal, &f.Leftovers, &f.NeverReady,
		&f.Deaf, &f.SlowKill, &f.Stuck, &f.HookFails, &f.HookHangs, &f.FreezeFails, &f.Lost, &f.Slow, &f.Words, &f.Replays,
	}
}

// edges leaves out groups, needs and after.
func (sh *shrinker) edges() bool {
	any := false
	for i := 0; i < len(sh.best.Spec.Groups); {
		c := sh.clone()
		c.Spec.Groups = slices.Delete(c.Spec.Groups, i, i+1)
		if sh.try(c) {
			any = true
		} else {
			i++
		}
	}
	for i := range sh.best.Spec.Services {
		for _, list := range []func(*spec.Service) *[]string{
			func(s *spec.Service) *[]string { return &s.Needs },
			func(s *spec.Service) *[]string { return &s.After },
		} {
			for j := 0; j < len(*list(sh.best.Spec.Services[i])); {
				c := sh.clone()
				l := list(c.Spec.Services[i])
				*l = slices.Delete(*l, j, j+1)
				if sh.try(c) {
					any = true
				} else {
					j++
				}
			}
		}
	}
	return any
}

// plain makes services plainer, one property after the other.
func (sh *shrinker) plain() bool {
	any := false
	for i := range sh.best.Spec.Services {
		for _, simpler := range []func(*spec.Service) bool{
			func(s *spec.Service) bool { ok := s.Instances > 1; s.Instances = min(s.Instances, 1); return ok },
			func(s *spec.Service) bool { ok := s.Stop.Command != ""; s.Stop.Command = ""; return ok },
			func(s *spec.Service) bool { ok := s.Reload != nil; s.Reload = nil; return ok },
			func(s *spec.Service) bool { ok := s.Recycle != nil; s.Recycle = nil; return ok },
			func(s *spec.Service) bool { ok := s.Ready != nil; s.Ready = nil; return ok },
			func(s *spec.Service) bool { ok := s.Essential; s.Essential = false; return ok },
			func(s *spec.Service) bool { ok := s.Restart.Jitter > 0; s.Restart.Jitter = 0; return ok },
			func(s *spec.Service) bool { ok := !s.Enabled; s.Enabled = true; return ok },
		} {
			c := sh.clone()
			if simpler(c.Spec.Services[i]) {
				any = sh.try(c) || any
			}
		}
	}
	return any
}
