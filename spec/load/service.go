package load

import (
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2/hclsyntax"

	"nines/spec"
)

// maxInstances bounds the replicas of one service.
const maxInstances = 65536

// defaultService is a service as the language says it is when only its command
// is given.
func defaultService(name string) *spec.Service {
	return &spec.Service{
		Name: name, Type: spec.TypeService, Instances: 1, Mode: spec.ActiveActive, Enabled: true,
		StartTimeout: 30 * time.Second,
		Stop:         spec.Stop{Signal: "SIGTERM", Timeout: 10 * time.Second},
		Restart: spec.Restart{
			Policy: spec.RestartAlways, Delay: 100 * time.Millisecond, MaxDelay: 30 * time.Second, Factor: 2, Jitter: 0.1,
			ResetAfter: 60 * time.Second, SuccessCodes: []int{0}, FatalCodes: []int{78, 125},
		},
		CrashLoop: spec.CrashLoop{Failures: 5, Within: 60 * time.Second, Then: spec.ThenRollback},
		Update: spec.Update{
			Order: "auto", MaxParallel: 1, Canary: 1, MinHealthy: 10 * time.Second, Deadline: 5 * time.Minute,
			AutoRevert: true, Probation: time.Hour,
		},
		Log: spec.Log{MaxSize: 10 << 20, Keep: 5, Compress: true, To: []string{"file"}, Streams: "merged", Format: "text"},
	}
}

// serviceBlock reads a service block.
func (b *block) serviceBlock(name string) *spec.Service {
	b.service = b.foresee(name)
	s := defaultService(name)
	s.Pos = pos(b.def)
	b.d.blocks[s] = b

	enum(b, "type", &s.Type, spec.TypeService, spec.TypeTask)
	b.int("instances", &s.Instances, 0, maxInstances)
	enum(b, "mode", &s.Mode, spec.ActiveActive, spec.ActivePassive)
	b.bool("enabled", &s.Enabled)
	b.relations("needs", &s.Needs, name)
	b.relations("after", &s.After, name)
	b.bool("essential", &s.Essential)
	b.process(&s.Process)

	b.sub("start", func(b *block) { b.duration("timeout", &s.StartTimeout, 1) })
	b.sub("stop", func(b *block) {
		b.signal("signal", &s.Stop.Signal)
		b.duration("timeout", &s.Stop.Timeout, 0)
		b.optionalCommand("command", &s.Stop.Command)
	})
	b.sub("reload", func(b *block) { s.Reload = b.reload("SIGHUP") })
	b.restart(s)
	b.sub("crash_loop", func(b *block) {
		b.int("failures", &s.CrashLoop.Failures, 1, 10000)
		b.duration("within", &s.CrashLoop.Within, 1)
		enum(b, "then", &s.CrashLoop.Then, spec.ThenRollback, spec.ThenHold, spec.ThenStop, spec.ThenShutdown)
	})
	b.availability(s)
	b.sub("recycle", func(b *block) { s.Recycle = b.recycle() })
	if v := b.percent("slo", &s.SLO, "99.9%", 100); v != nil && s.SLO == 100 {
		v.bad("slo cannot be 100%: it would leave no error budget", `Write for example: slo = "99.99%"`)
	}
	b.sub("ready", func(b *block) { s.Ready = b.ready() })
	named(b, "check", "alive", spec.CheckName, &s.Checks, (*block).check)
	b.limits(&s.Limits)
	b.sub("isolate", func(b *block) { s.Isolate = b.isolate() })
	b.sub("sandbox", func(b *block) { s.Sandbox = b.sandbox() })
	named(b, "listen", "http", spec.CheckIdent, &s.Listen, (*block).listen)
	named(b, "port", "http", spec.CheckIdent, &s.Ports, (*block).port)
	b.sub("log", func(b *block) { b.log(&s.Log) })
	b.sub("standby", func(b *block) { s.Standby = b.standby() })
	b.sub("update", func(b *block) { b.update(&s.Update) })
	b.sub("release", func(b *block) { s.Release = b.release() })
	b.sub("data", func(b *block) { s.Data = b.data() })
	b.judge(s)
	return s
}

// foresee notes what the service's expressions may refer to, before any is
// read.
func (b *block) foresee(name string) *service {
	svc := &service{name: name, portBases: map[string]int{}}
	for _, x := range b.body.Blocks {
		switch {
		case x.Type == "port" && len(x.Labels) == 1:
			svc.ports = append(svc.ports, x.Labels[0])
			// Only a sample for trying expressions.
			svc.portBases[x.Labels[0]] = 49152 + len(svc.ports)
		case x.Type == "release":
			svc.hasRelease, svc.release = true, "/release"
		}
	}
	return svc
}

// relations reads needs and after.
func (b *block) relations(name string, dst *[]string, self string) {
	v := b.strings(name, dst, `["db"]`)
	if v == nil {
		return
	}
	b.once(v, *dst)
	if v.secret {
		b.d.notFromEnv(v)
		*dst = nil
		return
	}
	for i, n := range *dst {
		if n == self {
			v.badItem(i, fmt.Sprintf("service %q cannot stand in its own %s", self, name), "Leave it out.")
		}
	}
}

// notFromEnv refuses names of services that come from the environment: they
// are shown everywhere, and a machine's structure is not a variable.
func (d *decoder) notFromEnv(v *value) {
	d.errorAt("not_static", v.rng, fmt.Sprintf("%s cannot use env.*", v.name), "Write the names of the services.")
}

// process reads what an incarnation is started with.
func (b *block) process(p *spec.Process) {
	if b.require("command", `["/usr/local/bin/web", "--port", "8080"]`) {
		b.command("command", &p.Command)
	} else {
		b.attrs = append(b.attrs, "command")
	}
	b.account("user", &p.User, `"www-data"`, b.knownUser)
	b.account("group", &p.Group, `"www-data"`, b.knownGroup)
	if v := b.strings("groups", &p.Groups, `["ssl-cert"]`); v != nil {
		b.once(v, p.Groups)
		for _, g := range p.Groups {
			b.knownGroup(v, g)
		}
	}
	b.exprString("directory", &p.Directory, `"/var/lib/web"`, absolutePath("directory"))
	var mask uint32
	if parsed(b, "umask", &mask, "a umask", `"022"`, spec.ParseMode) != nil {
		p.Umask = &mask
	}
	var nice, oom int
	if b.int("nice", &nice, -20, 19) != nil {
		p.Nice = &nice
	}
	if b.int("oom_score_adj", &oom, -1000, 1000) != nil {
		p.OOMScoreAdj = &oom
	}
	b.exprMap("env", &p.Env, `{ LOG_LEVEL = "info" }`, func(m map[string]string, show func(string) string) (string, string) {
		for _, k := range sortedKeys(m) {
			if err := spec.CheckEnvName(k); err != nil {
				return fmt.Sprintf("env: %s cannot be set: %v", show(k), err), ""
			}
			if strings.ContainsRune(m[k], 0) {
				return fmt.Sprintf("env: the value of %s holds a zero byte", show(k)), ""
			}
		}
		return "", ""
	})
	b.exprString("env_file", &p.EnvFile, `"/etc/default/web"`, func(s string, show func(string) string) (string, string) {
		return absolutePath("env_file")(strings.TrimPrefix(s, "-"), show)
	})
	var inherit bool
	if b.bool("inherit_env", &inherit) != nil {
		p.InheritEnv = &inherit
	}
	b.rlimits(&p.Rlimits)
}

func absolutePath(name string) check[string] {
	return func(s string, show func(string) string) (string, string) {
		switch {
		case strings.ContainsRune(s, 0):
			return name + " holds a zero byte", ""
		case !path.IsAbs(s):
			return fmt.Sprintf("%s must be an absolute path, not %s", name, show(s)), "It begins with \"/\". env.PWD is the folder that nines was started in: \"${env.PWD}/…\"."
		}
		return "", ""
	}
}

// command reads a list of strings with a program in front.
func (b *block) command(name string, dst *spec.Expr) {
	example := `["/usr/local/bin/web", "--port", "8080"]`
	if a := b.body.Attributes[name]; a != nil {
		if t, ok := a.Expr.(*hclsyntax.TemplateExpr); ok && t.IsStringLiteral() {
			b.attrs = append(b.attrs, name)
			v, diags := t.Value(nil)
			if words := strings.Fields(v.AsString()); !diags.HasErrors() && len(words) > 0 && len(words) < 20 {
				example = "[" + strings.ReplaceAll(listing(words), " or ", ", ") + "]"
			}
			b.d.errorAt("wrong_type", a.Expr.Range(), name+" must be a list of strings, not a string: there is no shell", "Write: "+name+" = "+example)
			return
		}
	}
	b.exprStrings(name, dst, example, func(list []string, show func(string) string) (string, string) {
		return commandWrong(name, list, show)
	})
}

// optionalCommand is a command that [] leaves out.
func (b *block) optionalCommand(name string, dst *spec.Expr) {
	if a := b.body.Attributes[name]; a != nil {
		if t, ok := a.Expr.(*hclsyntax.TupleConsExpr); ok && len(t.Exprs) == 0 {
			b.attrs = append(b.attrs, name)
			return
		}
	}
	b.command(name, dst)
	if !b.has(name) {
		b.attrs = append(b.attrs, name)
	}
}

func commandWrong(name string, list []string, show func(string) string) (wrong, detail string) {
	if len(list) == 0 || list[0] == "" {
		return name + " names no program", "Its first string is the program: " + name + ` = ["/usr/local/bin/web"]`
	}
	for i, s := range list {
		if strings.ContainsRune(s, 0) {
			return fmt.Sprintf("%s: string %d holds a zero byte", name, i), ""
		}
	}
	if i := strings.IndexAny(list[0], " \t"); len(list) == 1 && i > 0 && !strings.Contains(list[0][:i], "/ ") && strings.Contains(list[0], " -") {
		words := strings.Fields(list[0])
		for i, w := range words {
			words[i] = show(w)
		}
		return fmt.Sprintf("%s: the program and its arguments are one string, and there is no shell to part them", name),
			"Write: " + name + " = [" + strings.Join(words, ", ") + "]"
	}
	return "", ""
}

// reload reads what a signal or a command may do; signal is the default.
func (b *block) reload(signal string) *spec.Reload {
	r := &spec.Reload{}
	b.signal("signal", &r.Signal)
	b.optionalCommand("command", &r.Command)
	b.exactlyOne("signal", "command", false)
	if r.Signal == "" && r.Command == "" {
		r.Signal = signal
	}
	return r
}

// restart reads the restart block.
func (b *block) restart(s *spec.Service) {
	r := &s.Restart
	if s.Type == spec.TypeTask {
		r.Policy = spec.RestartOnFailure
	}
	b.sub("restart", func(b *block) {
		if v := enum(b, "policy", &r.Policy, spec.RestartAlways, spec.RestartOnFailure, spec.RestartNever); v != nil && s.Type == spec.TypeTask && r.Policy == spec.RestartAlways {
			v.bad(`a task runs to completion: its policy cannot be "always"`, `Write policy = "on-failure", or type = "service".`)
		}
		b.duration("delay", &r.Delay, 0)
		b.duration("max_delay", &r.MaxDelay, 0)
		b.float("factor", &r.Factor, 1, 1000)
		b.float("jitter", &r.Jitter, 0, 1)
		b.duration("reset_after", &r.ResetAfter, 0)
		b.codes("success_codes", &r.SuccessCodes)
		b.codes("fatal_codes", &r.FatalCodes)
		if r.Delay > r.MaxDelay {
			at := "delay"
			if !b.has(at) {
				at = "max_delay"
			}
			b.errorAt(at, "conflict", fmt.Sprintf("delay (%s) is longer than max_delay (%s)", b.shown(b.path+".delay", r.Delay), b.shown(b.path+".max_delay", r.MaxDelay)), "Raise max_delay, or lower delay.")
		}
		for _, c := range r.FatalCodes {
			for _, ok := range r.SuccessCodes {
				if c == ok {
					at := "fatal_codes"
					if !b.has(at) {
						at = "success_codes"
					}
					b.errorAt(at, "conflict", fmt.Sprintf("exit code %s is both a success and fatal", b.shown(b.path+"."+at, c)), "Leave it out of success_codes or of fatal_codes.")
				}
			}
		}
	})
}

// codes reads a list of exit codes.
func (b *block) codes(name string, dst *[]int) {
	v := b.static(name)
	if v == nil {
		return
	}
	if t := v.Type(); !t.IsTupleType() && !t.IsListType() && !t.IsSetType() {
		v.wrongType("a list of exit codes", "[0]")
		return
	}
	list := []int{}
	for it := v.ElementIterator(); it.Next(); {
		_, e := it.Element()
		n, ok := (&value{Value: e}).asInt()
		if e.IsNull() || !ok || n < 0 || n > 255 {
			v.bad(name+" holds something that is not an exit code", "An exit code is a number from 0 to 255.")
			return
		}
		list = append(list, int(n))
	}
	*dst = list
}

// availability reads the disruption budget.
func (b *block) availability(s *spec.Service) {
	if s.AvailableAtLeast = 0; s.Instances > 1 {
		s.AvailableAtLeast = s.Instances - 1
	}
	v := b.int("available_at_least", &s.AvailableAtLeast, 0, maxInstances)
	s.AvailableSet = v != nil
	if v != nil && s.AvailableAtLeast > s.Instances {
		b.d.errorAt("conflict", v.rng, fmt.Sprintf("available_at_least is %s, and there are only %s instances", v.shown(s.AvailableAtLeast), b.instances(s)), "Raise instances, or lower it.")
	}
}

// recycle reads planned replacement.
func (b *block) recycle() *spec.Recycle {
	r := &spec.Recycle{Jitter: 0.1}
	b.duration("max_age", &r.MaxAge, time.Second)
	b.float("jitter", &r.Jitter, 0, 1)
	parsed(b, "schedule", &r.Schedule, "a schedule", `"0 4 * * *"`, func(s string) (string, error) {
		_, err := spec.ParseSchedule(s)
		return s, err
	})
	b.exactlyOne("max_age", "schedule", true)
	return r
}
