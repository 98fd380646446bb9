// Package diff says what of one specification differs from another, service by
// service, and what that means: whether new processes are needed. It is pure: it
// reads two *spec.Spec and digests, and does nothing.
//
// Which attributes are part of a revision (what the processes run with, so that
// another value needs new ones) is one table, attributes. It is both what Digest
// is made of and what Specs names as the reason. No value is ever in a result:
// env holds secrets.
package diff

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"nines/spec"
)

// Action is what applying a specification does to a service.
type Action string

// The actions.
const (
	Start   Action = "start"    // it is new, or is enabled, and starts
	Stop    Action = "stop"     // it is removed or disabled, and stops
	Restart Action = "restart"  // it is another revision: each instance is replaced
	InPlace Action = "in_place" // what runs goes on; other instances may start or stop
	Nothing Action = "nothing"
)

// Change is what happens to one service.
type Change struct {
	Service     string
	Action      Action
	Why         []string // attributes, in the order of the table, or words
	From, To    int      // instances; of a service that is not there or disabled: 0
	Destructive bool     // something that serves now will not: removed, disabled, no instances
}

// attribute is one thing that a service block says.
type attribute struct {
	name     string
	revision bool // another value needs new processes
	value    func(*spec.Service) any
}

// attributes is every attribute of a service, by the name that people write.
// What has its zero value is left out of a digest, so that an attribute that a
// later version brings makes no other revision of what does not use it.
func attributes() []attribute {
	return []attribute{
		{"type", true, func(s *spec.Service) any { return s.Type }},
		{"mode", true, func(s *spec.Service) any { return s.Mode }},
		{"command", true, func(s *spec.Service) any { return s.Process.Command }},
		{"user", true, func(s *spec.Service) any { return s.Process.User }},
		{"group", true, func(s *spec.Service) any { return s.Process.Group }},
		{"groups", true, func(s *spec.Service) any { return s.Process.Groups }},
		{"directory", true, func(s *spec.Service) any { return s.Process.Directory }},
		{"umask", true, func(s *spec.Service) any { return s.Process.Umask }},
		{"nice", true, func(s *spec.Service) any { return s.Process.Nice }},
		{"oom_score_adj", true, func(s *spec.Service) any { return s.Process.OOMScoreAdj }},
		{"env", true, func(s *spec.Service) any { return s.Process.Env }},
		{"env_file", true, func(s *spec.Service) any { return s.Process.EnvFile }},
		{"inherit_env", true, func(s *spec.Service) any { return s.Process.InheritEnv }},
		{"rlimits", true, func(s *spec.Service) any { return s.Process.Rlimits }},
		{"memory", true, func(s *spec.Service) any { return s.Limits.Memory }},
		{"cpu", true, func(s *spec.Service) any { return s.Limits.CPU }},
		{"pids", true, func(s *spec.Service) any { return s.Limits.Pids }},
		{"io", true, func(s *spec.Service) any { return s.Limits.IO }},
		{"sandbox", true, func(s *spec.Service) any { return s.Sandbox }},
		{"listen", true, func(s *spec.Service) any { return s.Listen }},
		{"port", true, func(s *spec.Service) any { return s.Ports }},
		{"release.path", true, func(s *spec.Service) any {
			if s.Release == nil {
				return ""
			}
			return s.Release.Path
		}},
		{"release", false, func(s *spec.Service) any {
			if s.Release == nil {
				return nil
			}
			r := *s.Release
			r.Path = ""
			return &r
		}},
		{"instances", false, func(s *spec.Service) any { return s.Instances }},
		{"enabled", false, func(s *spec.Service) any { return s.Enabled }},
		{"needs", false, func(s *spec.Service) any { return s.Needs }},
		{"after", false, func(s *spec.Service) any { return s.After }},
		{"essential", false, func(s *spec.Service) any { return s.Essential }},
		{"available_at_least", false, func(s *spec.Service) any {
			if !s.AvailableSet {
				return nil // it follows from instances: nobody has changed it
			}
			return [1]int{s.AvailableAtLeast} // 0 is not the absence of it
		}},
		{"start", false, func(s *spec.Service) any { return s.StartTimeout }},
		{"stop", false, func(s *spec.Service) any { return s.Stop }},
		{"reload", false, func(s *spec.Service) any { return s.Reload }},
		{"restart", false, func(s *spec.Service) any { return s.Restart }},
		{"crash_loop", false, func(s *spec.Service) any { return s.CrashLoop }},
		{"recycle", false, func(s *spec.Service) any { return s.Recycle }},
		{"slo", false, func(s *spec.Service) any { return s.SLO }},
		{"ready", false, func(s *spec.Service) any { return s.Ready }},
		{"check", false, func(s *spec.Service) any { return s.Checks }},
		{"update", false, func(s *spec.Service) any { return s.Update }},
		{"standby", false, func(s *spec.Service) any { return s.Standby }},
		{"isolate", false, func(s *spec.Service) any { return s.Isolate }},
		{"log", false, func(s *spec.Service) any {
			l := s.Log
			l.Streams = ""
			return l
		}},
		{logStreams, false, func(s *spec.Service) any { return s.Log.Streams }},
		{"data", false, func(s *spec.Service) any { return s.Data }},
	}
}

// logStreams is the one attribute of what is applied in place that what runs does
// not follow: its pipes are made.
const logStreams = "log.streams"

// text is a value as canonical text; "" for what was not given.
func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		// Plain values, all of them: NaN alone cannot be written, and load makes none.
		return fmt.Sprintf("%#v", v)
	}
	switch s := string(b); s {
	case "null", `""`, "[]":
		return ""
	case "0", "false":
		if reflect.ValueOf(v).Kind() != reflect.Pointer { // umask = 0 is not the absence of umask
			return ""
		}
		return s
	default:
		return s
	}
}

// Digest is the canonical digest (SHA-256, hex) of what the processes of a
// service run with. envFile is the digest of what its env_file holds, "" where
// there is none. local.* is resolved in it; host.*, env.*, instance.* and port.*
// are still names (see spec.Expr), so that another machine or boot is not another
// revision.
func Digest(s *spec.Service, envFile string) string {
	h := sha256.New()
	for _, a := range attributes() {
		if !a.revision {
			continue
		}
		if t := text(a.value(s)); t != "" {
			h.Write(fmt.Appendf(nil, "%s %d %s\n", a.name, len(t), t))
		}
	}
	h.Write(fmt.Appendf(nil, "env_file holds %s\n", envFile))
	return hex.EncodeToString(h.Sum(nil))
}

// Revision names the attributes that are part of a revision and differ.
func Revision(old, s *spec.Service) (names []string) {
	for _, a := range attributes() {
		if a.revision && text(a.value(old)) != text(a.value(s)) {
			names = append(names, a.name)
		}
	}
	return names
}

// Side is one of the two that are compared.
type Side struct {
	Spec    *spec.Spec
	Digests map[string]string // by service
	// Instances is how many a service has now, where that is not what the
	// specification says (scaled by a person).
	Instances map[string]int
}

func (d *Side) instances(s *spec.Service) int {
	if n, ok := d.Instances[s.Name]; ok {
		return n
	}
	return s.Instances
}

// Services says what becomes of each service where after is applied to before: in
// the order of after, then what was removed, in its old order.
func Services(before, after Side) []Change {
	var list []Change
	have := map[string]*spec.Service{}
	for _, s := range before.Spec.Services {
		have[s.Name] = s
	}
	for _, s := range after.Spec.Services {
		if old := have[s.Name]; old != nil {
			list = append(list, compare(old, s, &before, &after))
			delete(have, s.Name)
			continue
		}
		c := Change{Service: s.Name, Action: Start, Why: []string{"new"}, To: s.Instances}
		if !s.Enabled {
			c.Action, c.Why, c.To = InPlace, []string{"new, disabled"}, 0
		}
		list = append(list, c)
	}
	for _, s := range before.Spec.Services {
		if have[s.Name] != nil {
			list = append(list, Change{Service: s.Name, Action: Stop, Why: []string{"removed"}, From: before.instances(s), Destructive: true})
		}
	}
	return list
}

func compare(old, s *spec.Service, before, after *Side) Change {
	c := Change{Service: s.Name, Action: Nothing, From: before.instances(old), To: s.Instances}
	revision := before.Digests[s.Name] != after.Digests[s.Name]
	named := false
	for _, a := range attributes() {
		if text(a.value(old)) == text(a.value(s)) {
			continue
		}
		c.Why = append(c.Why, a.name)
		named = named || a.revision
	}
	if revision && !named {
		what := "what env_file holds"
		if s.Release != nil {
			what = "what release.path holds, or env_file"
		}
		c.Why = append([]string{what}, c.Why...)
	}
	if c.From != c.To && !slices.Contains(c.Why, "instances") {
		c.Why = append(c.Why, "instances (it was scaled)")
	}
	switch {
	case old.Enabled && !s.Enabled:
		c.Action, c.To, c.Destructive = Stop, 0, c.From > 0
	case !old.Enabled && s.Enabled:
		c.Action, c.From = Start, 0
	case !s.Enabled:
		c.From, c.To = 0, 0
		if len(c.Why) > 0 {
			c.Action = InPlace
		}
	case c.To == 0 && c.From > 0:
		c.Action, c.Destructive = Stop, true
	case c.From == 0 && c.To > 0:
		c.Action = Start
	case revision && c.From > 0:
		c.Action = Restart
	case len(c.Why) > 0:
		c.Action = InPlace
	}
	if i := slices.Index(c.Why, logStreams); i >= 0 && c.Action == InPlace && c.From > 0 {
		c.Why[i] += " (of each instance from its next start on)"
	}
	return c
}

// Supervisor names the attributes of the supervisor block, and the other blocks
// at the top, that differ. inEffect are those that count at once; the others do
// from the next start of nines-init on.
func Supervisor(before, after *spec.Spec) (inEffect, later []string) {
	add := func(list *[]string, name string, a, b any) {
		if text(a) != text(b) {
			*list = append(*list, name)
		}
	}
	o, n := &before.Supervisor, &after.Supervisor
	add(&inEffect, "supervisor.shutdown_timeout", o.ShutdownTimeout, n.ShutdownTimeout)
	add(&inEffect, "check", before.Checks, after.Checks)
	add(&inEffect, "alert", before.Alerts, after.Alerts)
	add(&inEffect, "group", before.Groups, after.Groups)
	add(&later, "supervisor.state_dir", o.StateDir, n.StateDir)
	add(&later, "supervisor.log_dir", o.LogDir, n.LogDir)
	add(&later, "supervisor.watchdog", o.Watchdog, n.Watchdog)
	add(&later, "supervisor.metrics", o.Metrics, n.Metrics)
	add(&later, "supervisor.web", o.Web, n.Web)
	add(&later, "supervisor.control", o.Control, n.Control)
	return inEffect, later
}
