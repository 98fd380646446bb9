package load

import (
	"net"
	"net/url"
	"path"
	"slices"
	"strconv"
	"time"

	"nines/spec"
)

func defaultSupervisor() spec.Supervisor {
	return spec.Supervisor{ShutdownTimeout: 60 * time.Second, Control: spec.Control{Mode: 0o600}}
}

// supervisor reads the supervisor block.
func (b *block) supervisor(s *spec.Supervisor) {
	b.absolute(b.string("state_dir", &s.StateDir, `"/var/lib/nines"`), s.StateDir)
	b.absolute(b.string("log_dir", &s.LogDir, `"/var/log/nines"`), s.LogDir)
	b.duration("shutdown_timeout", &s.ShutdownTimeout, 1)
	b.absolute(b.string("watchdog", &s.Watchdog, `"/dev/watchdog"`), s.Watchdog)
	b.listenAddress(b.string("metrics", &s.Metrics, `"127.0.0.1:9109"`), s.Metrics)
	b.listenAddress(b.string("web", &s.Web, `"127.0.0.1:9110"`), s.Web)
	b.sub("control", func(b *block) {
		if v := b.string("group", &s.Control.Group, `"adm"`); v != nil && s.Control.Group != "" {
			b.knownGroup(v, s.Control.Group)
		}
		parsed(b, "mode", &s.Control.Mode, "permission bits", `"0600"`, spec.ParseMode)
	})
}

// absolute checks that a path is absolute; "" is allowed.
func (b *block) absolute(v *value, p string) bool {
	if v == nil || p == "" || path.IsAbs(p) {
		return true
	}
	v.bad(v.name+" must be an absolute path, not "+v.show(p), "It begins with \"/\". env.PWD is the folder that nines was started in: \"${env.PWD}/…\".")
	return false
}

// listenAddress checks an address that we are to listen on: HOST:PORT, where
// the host may be empty.
func (b *block) listenAddress(v *value, s string) {
	if v == nil || s == "" {
		return
	}
	_, p, err := net.SplitHostPort(s)
	n, err2 := strconv.Atoi(p)
	if err != nil || err2 != nil || n < 1 || n > 65535 {
		v.bad(v.name+": "+v.show(s)+" is not an address", `Write for example: `+v.name+` = "127.0.0.1:9109"`)
	}
}

// nodeCheck reads a check of the machine.
func (b *block) nodeCheck(name string) spec.NodeCheck {
	c := spec.NodeCheck{Name: name, Timing: defaultTiming(), OnFailure: spec.OnFailureAlert}
	b.timing(&c.Timing)
	if v := enum(b, "on_failure", &c.OnFailure, spec.OnFailureAlert, spec.OnFailureRestart, spec.OnFailureIsolate, spec.OnFailureDump); v != nil && c.OnFailure != spec.OnFailureAlert {
		v.bad("a check of the machine can only alert", `Write on_failure = "alert", or move the check into a service.`)
	}
	b.kinds("check", []string{"disk", "clock", "pressure", "tcp"}, "", func(k *block, kind string) {
		switch kind {
		case "disk":
			c.Disk = &spec.NodeDisk{Path: "/", Free: 5, Inodes: 5, Writable: true}
			k.absolute(k.string("path", &c.Disk.Path, `"/"`), c.Disk.Path)
			k.percent("free", &c.Disk.Free, "5%", 100)
			k.percent("inodes", &c.Disk.Inodes, "5%", 100)
			k.bool("writable", &c.Disk.Writable)
		case "clock":
			c.Clock = &spec.NodeClock{Step: time.Second}
			k.duration("step", &c.Clock.Step, 1)
		case "pressure":
			c.Pressure = &spec.NodePressure{Of: "memory", Above: 20}
			enum(k, "of", &c.Pressure.Of, "memory", "cpu", "io")
			k.percent("above", &c.Pressure.Above, "20%", 100)
		case "tcp":
			c.TCP = k.checkTCP()
		}
	})
	return c
}

// alert reads an alert block.
func (b *block) alert(name string) spec.Alert {
	a := spec.Alert{Name: name}
	example := `["crash_loop", "rollback", "quarantined"]`
	if b.require("on", example) {
		if v := b.strings("on", &a.On, example); v != nil {
			for i, kind := range a.On {
				if kind == "quarantine" { // as the language page has it; the event is called quarantined
					a.On[i] = "quarantined"
				}
			}
			b.words(v, a.On, "event", spec.EventKinds())
			if len(a.On) == 0 {
				v.bad("on names no event: it would never alert", "Write for example: on = "+example)
			}
		}
	}
	b.argv("command", &a.Command)
	if v := b.string("webhook", &a.Webhook, `"https://example.com/hook"`); v != nil {
		u, err := url.Parse(a.Webhook)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
			v.bad("webhook: "+v.show(a.Webhook)+" is not an http or https URL", `Write for example: webhook = "https://example.com/hook"`)
		}
	}
	b.exactlyOne("command", "webhook", true)
	return a
}

// words checks that each word of a list is known, and given once.
func (b *block) words(v *value, list []string, what string, known []string) {
	for i, w := range list {
		switch {
		case !slices.Contains(known, w):
			detail := "It is one of " + listing(known) + "."
			if !v.secret {
				detail = didYouMean(w, known, detail)
			}
			v.badItem(i, "there is no "+what+" called "+v.show(w), detail)
		case slices.Contains(list[:i], w):
			v.badItem(i, v.show(w)+" is listed twice", "Leave one of them out.")
		}
	}
}

// exactlyOne checks two attributes of which one may be given, or must be.
func (b *block) exactlyOne(first, second string, must bool) {
	switch {
	case b.has(first) && b.has(second):
		b.errorAt(second, "conflict", b.title+" has both "+first+" and "+second, "Keep one of them.")
	case must && !b.has(first) && !b.has(second):
		b.d.errorAt("missing", b.def, b.title+" has neither "+first+" nor "+second, "Give it one of them.")
	}
}

// argv reads a command that does not depend on an instance.
func (b *block) argv(name string, dst *[]string) {
	v := b.strings(name, dst, `["/usr/local/bin/page"]`)
	if v == nil {
		return
	}
	if wrong, detail := commandWrong(name, *dst, v.show); wrong != "" {
		v.bad(wrong, detail)
	}
}

// group reads a group block; its members are checked when all services are
// known.
func (b *block) group(name string) spec.Group {
	g := spec.Group{Name: name, Strategy: spec.OneForOne}
	if b.d.groups[name] == nil {
		b.d.groups[name] = b
	}
	if b.require("members", `["api", "worker"]`) {
		if v := b.strings("members", &g.Members, `["api", "worker"]`); v != nil {
			if len(g.Members) == 0 {
				v.bad("the group has no members", `Write for example: members = ["api", "worker"]`)
			}
			if v.secret {
				b.d.notFromEnv(v)
				g.Members = nil
			}
			b.once(v, g.Members)
		}
	}
	enum(b, "strategy", &g.Strategy, spec.OneForOne, spec.OneForAll, spec.RestForOne)
	return g
}

// once checks that nothing is listed twice.
func (b *block) once(v *value, list []string) {
	seen := make(map[string]bool, len(list))
	for i, s := range list {
		if seen[s] {
			v.badItem(i, v.show(s)+" is listed twice", "Leave one of them out.")
		}
		seen[s] = true
	}
}
