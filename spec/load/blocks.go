package load

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/zclconf/go-cty/cty"

	"nines/spec"
)

// rlimits reads the map of resource limits, in the order of their names.
func (b *block) rlimits(dst *[]spec.Rlimit) {
	example := `{ nofile = 65536, core = "unlimited", nproc = "100:200" }`
	v := b.static("rlimits")
	if v == nil {
		return
	}
	if t := v.Type(); !t.IsObjectType() && !t.IsMapType() {
		v.wrongType("a map of limits", example)
		return
	}
	for it := v.ElementIterator(); it.Next(); {
		k, e := it.Element()
		name := k.AsString()
		if !slices.Contains(spec.RlimitNames(), name) {
			v.bad("rlimits: there is no limit called "+v.show(name), didYouMean(name, spec.RlimitNames(), "It is one of "+listing(spec.RlimitNames())+"."))
			continue
		}
		l, err := rlimit(name, e)
		if err != nil {
			v.bad(fmt.Sprintf("rlimits: %s: %v", name, err), "Write for example: rlimits = "+example)
			continue
		}
		*dst = append(*dst, l)
	}
}

func rlimit(name string, v cty.Value) (spec.Rlimit, error) {
	if v.IsNull() || !v.Type().IsPrimitiveType() || v.Type() == cty.Bool {
		return spec.Rlimit{}, fmt.Errorf("a number or a string is expected")
	}
	s, err := toString(v)
	if err != nil {
		return spec.Rlimit{}, err
	}
	soft, hard, both := strings.Cut(s, ":")
	l := spec.Rlimit{Name: name}
	if l.Soft, err = spec.ParseLimit(soft); err != nil {
		return l, err
	}
	if l.Hard = l.Soft; both {
		if l.Hard, err = spec.ParseLimit(hard); err != nil {
			return l, err
		}
	}
	if l.Soft > l.Hard {
		return l, fmt.Errorf("the soft limit is above the hard one")
	}
	return l, nil
}

// limits reads the resource blocks.
func (b *block) limits(l *spec.Limits) {
	b.sub("memory", func(b *block) { l.Memory = b.memory() })
	b.sub("cpu", func(b *block) {
		c := &spec.CPU{Weight: 100}
		b.percent("max", &c.Max, "150%", 1e6)
		b.int("weight", &c.Weight, 1, 10000)
		b.bool("required", &c.Required)
		l.CPU = c
	})
	b.sub("pids", func(b *block) {
		p := &spec.Pids{}
		b.require("max", "512")
		b.int("max", &p.Max, 1, 1<<22)
		b.bool("required", &p.Required)
		l.Pids = p
	})
	b.sub("io", func(b *block) {
		i := &spec.IO{Weight: 100}
		b.int("weight", &i.Weight, 1, 10000)
		b.bool("required", &i.Required)
		l.IO = i
	})
}

// memory reads the memory block.
func (b *block) memory() *spec.Memory {
	m := &spec.Memory{For: 30 * time.Second, Window: 10 * time.Minute, OnLeak: "restart"}
	b.size("low", &m.Low)
	if v := b.size("swap", &m.Swap); v != nil && v.AsString() != "" {
		m.SwapSet = true
	}
	for _, x := range []struct {
		name string
		dst  *spec.Size
	}{{"high", &m.High}, {"max", &m.Max}, {"restart_above", &m.RestartAbove}} {
		if v := b.size(x.name, x.dst); v != nil && v.AsString() != "" && x.dst.IsZero() {
			v.bad(x.name+" is zero: nothing could run", "Leave it out for no limit.")
		}
	}
	b.rate("growth", &m.Growth, `"10MiB/1m"`)
	b.duration("for", &m.For, 0)
	b.duration("window", &m.Window, 1)
	enum(b, "on_leak", &m.OnLeak, "restart", "alert")
	b.bool("required", &m.Required)
	b.ascending("low", m.Low, "high", m.High)
	b.ascending("low", m.Low, "max", m.Max)
	b.ascending("high", m.High, "max", m.Max)
	b.ascending("restart_above", m.RestartAbove, "max", m.Max)
	if *m == (spec.Memory{For: m.For, Window: m.Window, OnLeak: m.OnLeak, Required: m.Required}) {
		b.d.warnAt("ineffective", b.def, "this memory block limits nothing", "Give it one of low, swap, high, max, restart_above and growth.")
	} else {
		b.judged(m)
	}
	return m
}

// judged says what keeps restart_above and growth from ever doing what they say.
func (b *block) judged(m *spec.Memory) {
	warn := func(attr, summary, detail string) { b.d.warnAt("ineffective", b.at(attr), summary, detail) }
	shown := func(attr string, v any) string { return b.shown(b.path+"."+attr, v) }
	memory := b.d.host().Memory
	high, most, above := m.High.Resolve(memory), m.Max.Resolve(memory), m.RestartAbove.Resolve(memory)
	switch {
	case above == 0:
	case most > 0 && above == most:
		warn("restart_above", fmt.Sprintf("restart_above (%s) is max: the kernel kills the instance before it can be replaced", shown("restart_above", m.RestartAbove)), "Lower restart_above, or raise max.")
	case high > 0 && above >= high && (most == 0 || above < most):
		warn("restart_above", fmt.Sprintf("restart_above (%s) is not below high (%s), above which the kernel slows the instance down: it may never come so far", shown("restart_above", m.RestartAbove), shown("high", m.High)), "Lower restart_above, or raise high.")
	}
	if m.RestartAbove.IsZero() && b.has("for") {
		warn("for", "for belongs to restart_above, which is not given", "Write for example: restart_above = \"180MiB\"")
	}
	if m.Growth.Count == 0 {
		for _, attr := range []string{"window", "on_leak"} {
			if b.has(attr) {
				warn(attr, attr+" belongs to growth, which is not given or zero", "Write for example: growth = \"10MiB/1m\"")
			}
		}
		if b.has("growth") {
			warn("growth", "growth is zero: no growth is taken for a leak", "Leave it out, or write for example: growth = \"1MiB/1h\"")
		}
		return
	}
	if m.Window < spec.MinLeakWindow {
		warn("window", fmt.Sprintf("window (%s) is too short to tell a leak from noise", shown("window", m.Window)), fmt.Sprintf("%s are looked at. A window is to be longer than it takes until memory is given back.", spec.MinLeakWindow))
	}
	window := max(m.Window, spec.MinLeakWindow)
	if grown := float64(m.Growth.Count) * window.Seconds() / m.Growth.Per.Seconds(); most > 0 && grown > float64(most) {
		warn("growth", fmt.Sprintf("what grows by %s for a window of %s has passed max (%s): a leak is not found before that", shown("growth", spec.FormatBytes(m.Growth.Count)+"/"+m.Growth.Per.String()), shown("window", m.Window), shown("max", m.Max)), "Lower growth or window, or raise max.")
	}
}

// ascending checks that one size is not above another. A share and an absolute
// size are compared on this machine.
func (b *block) ascending(lower string, l spec.Size, upper string, u spec.Size) {
	if l.IsZero() || u.IsZero() {
		return
	}
	above := l.Bytes > u.Bytes
	if l.Percent > 0 || u.Percent > 0 {
		if l.Percent > 0 && u.Percent > 0 {
			above = l.Percent > u.Percent
		} else {
			memory := b.d.host().Memory
			above = memory > 0 && l.Resolve(memory) > u.Resolve(memory)
		}
	}
	if above {
		b.errorAt(lower, "conflict", fmt.Sprintf("%s (%s) is above %s (%s)", lower, b.shown(b.path+"."+lower, l), upper, b.shown(b.path+"."+upper, u)), fmt.Sprintf("Lower %s, or raise %s.", lower, upper))
	}
}

func defaultIsolate() *spec.Isolate {
	return &spec.Isolate{Keep: 1, TTL: time.Hour, MemoryMaxTotal: spec.Size{Percent: 25}}
}

// isolate reads the isolate block.
func (b *block) isolate() *spec.Isolate {
	i := defaultIsolate()
	b.int("keep", &i.Keep, 0, 100)
	b.duration("ttl", &i.TTL, 1)
	b.size("memory_max_total", &i.MemoryMaxTotal)
	return i
}

// sandbox reads the sandbox block.
func (b *block) sandbox() *spec.Sandbox {
	s := &spec.Sandbox{NoNewPrivileges: true, Syscalls: "default"}
	b.bool("no_new_privileges", &s.NoNewPrivileges)
	if v := b.strings("capabilities", &s.Capabilities, `["NET_BIND_SERVICE"]`); v != nil {
		s.CapsSet = true
		for i, c := range s.Capabilities {
			s.Capabilities[i] = strings.TrimPrefix(strings.ToUpper(c), "CAP_")
		}
		b.words(v, s.Capabilities, "capability", spec.Capabilities())
	}
	b.paths("read_only", &s.ReadOnly)
	b.paths("writable", &s.Writable)
	b.bool("private_tmp", &s.PrivateTmp)
	b.bool("private_network", &s.PrivateNetwork)
	b.bool("private_pids", &s.PrivatePids)
	enum(b, "syscalls", &s.Syscalls, "default", "strict", "none")
	return s
}

// paths reads a list of absolute paths.
func (b *block) paths(name string, dst *[]string) *value {
	v := b.strings(name, dst, `["/var/lib/web"]`)
	if v == nil {
		return nil
	}
	for _, p := range *dst {
		if p == "" {
			v.bad(name+" holds an empty path", "Leave it out.")
		}
		if !b.absolute(v, p) {
			return v
		}
	}
	b.once(v, *dst)
	return v
}

// listen reads a listen block. Mode and user may stand in the address or
// beside it; they end up in the address.
func (b *block) listen(name string) spec.Listen {
	l := spec.Listen{Name: name, Share: "inherit"}
	enum(b, "share", &l.Share, "inherit", "reuseport")
	var a spec.ListenAddress
	b.require("address", `"tcp://0.0.0.0:8080"`)
	v := parsed(b, "address", &a, "an address", `"tcp://0.0.0.0:8080"`, spec.ParseListen)
	if parsed(b, "mode", &a.Mode, "permission bits", `"0660"`, spec.ParseMode) != nil {
		a.ModeSet = true
	}
	if u := b.account("user", &a.User, `"www-data"`, b.knownUser); u == nil && v != nil && a.User != "" {
		b.knownUser(v, a.User)
	}
	if v == nil {
		return l
	}
	l.Address = a.String()
	b.d.warnNotYet(b.path+".address="+a.Network, v.rng, func() string { return "a " + a.Network + " address" })
	if a.Network != "unix" {
		for _, name := range []string{"mode", "user"} {
			if b.has(name) {
				b.errorAt(name, "conflict", fmt.Sprintf("a %s address has no %s", a.Network, name), "Leave it out: it belongs to a unix:// address.")
			}
		}
	} else if l.Share == "reuseport" {
		b.errorAt("share", "conflict", "a unix socket cannot be shared by reuseport", `Write share = "inherit".`)
	}
	return l
}

// port reads a port block.
func (b *block) port(name string) spec.Port {
	p := spec.Port{Name: name}
	b.int("base", &p.Base, 1, 65535)
	return p
}

// log reads the log block.
func (b *block) log(l *spec.Log) {
	parsed(b, "max_size", &l.MaxSize, "a size", `"10MiB"`, orEmpty(spec.ParseBytes))
	b.int("keep", &l.Keep, 0, 10000)
	b.bool("compress", &l.Compress)
	if v := parsed(b, "rate", &l.Rate, "a rate", `"1MiB/1s"`, orEmpty(logRate)); v != nil && v.AsString() != "" && l.Rate == 0 {
		v.bad("rate is zero: nothing would be logged", "Leave it out for no bound.")
	}
	if v := b.strings("to", &l.To, `["file", "stdout"]`); v != nil {
		l.ToSet = true
		b.words(v, l.To, "place for logs", []string{"file", "stdout"})
		if len(l.To) == 0 {
			v.bad("to is empty: the output would be lost", `Write for example: to = ["file"]`)
		}
	}
	enum(b, "streams", &l.Streams, "merged", "split")
	enum(b, "format", &l.Format, "text", "json")
}

// logRate reads bytes a second: "1MiB/1s", or "1MiB" alone.
func logRate(s string) (uint64, error) {
	if !strings.Contains(s, "/") {
		return spec.ParseBytes(s)
	}
	r, err := spec.ParseRate(s)
	return r.PerSecond(), err
}

func defaultStandby() *spec.Standby {
	return &spec.Standby{Kind: "warm", Promote: spec.Reload{Signal: "SIGUSR1"}, Demote: spec.Reload{Signal: "SIGUSR2"}}
}

// standby reads the standby block.
func (b *block) standby() *spec.Standby {
	s := defaultStandby()
	enum(b, "kind", &s.Kind, "warm", "cold")
	b.sub("promote", func(b *block) { s.Promote = *b.reload("SIGUSR1") })
	b.sub("demote", func(b *block) { s.Demote = *b.reload("SIGUSR2") })
	return s
}

// update reads the update block.
func (b *block) update(u *spec.Update) {
	enum(b, "order", &u.Order, "auto", "start-first", "stop-first")
	b.int("max_parallel", &u.MaxParallel, 1, maxInstances)
	b.int("canary", &u.Canary, 0, maxInstances)
	b.duration("min_healthy", &u.MinHealthy, 0)
	b.duration("deadline", &u.Deadline, 1)
	b.bool("auto_revert", &u.AutoRevert)
	b.duration("probation", &u.Probation, 0)
	if u.MinHealthy >= u.Deadline {
		at := "min_healthy"
		if !b.has(at) {
			at = "deadline"
		}
		b.errorAt(at, "conflict", fmt.Sprintf("min_healthy (%s) is not shorter than deadline (%s): no update could succeed", b.shown(b.path+".min_healthy", u.MinHealthy), b.shown(b.path+".deadline", u.Deadline)), "Raise deadline, or lower min_healthy.")
	}
}

// release reads the release block.
func (b *block) release() *spec.Release {
	r := &spec.Release{Watch: true, Keep: 5}
	b.require("path", `"/opt/web/web"`)
	if v := b.string("path", &r.Path, `"/opt/web/web"`); v != nil && r.Path == "" {
		v.bad("path is empty", `Write for example: path = "/opt/web/web"`)
	} else {
		b.absolute(v, r.Path)
	}
	b.bool("watch", &r.Watch)
	b.int("keep", &r.Keep, 1, 1000)
	return r
}

// data reads the data block.
func (b *block) data() *spec.Data {
	d := &spec.Data{}
	b.require("paths", `["/var/lib/web"]`)
	if v := b.paths("paths", &d.Paths); v != nil && len(d.Paths) == 0 {
		v.bad("paths is empty", `Write for example: paths = ["/var/lib/web"]`)
	}
	b.bool("restore", &d.Restore)
	b.hook("before_update", &d.BeforeUpdate)
	b.hook("on_revert", &d.OnRevert)
	return d
}

// hook is a command that [] leaves out.
func (b *block) hook(name string, dst *[]string) {
	var list []string
	v := b.strings(name, &list, `["/usr/local/bin/dump"]`)
	if v == nil || len(list) == 0 {
		return
	}
	if wrong, detail := commandWrong(name, list, v.show); wrong != "" {
		v.bad(wrong, detail)
		return
	}
	*dst = list
}
