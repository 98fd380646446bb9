package man

import (
	"strings"

	"nines/spec/load"
)

// attr is one attribute of a block: its name, its default as written ("" for
// none), and what it means.
type attr struct{ name, def, means string }

// block is a block of the language: its path, how it begins, and what it holds.
type block struct {
	path  string // as package load names it: service.restart
	head  string // as it is written
	means string
	attrs []attr
}

// languagePage is nines.hcl(5). What has no effect yet is marked from what
// package load says, so it cannot be forgotten here.
func languagePage() *page {
	p := newPage("nines.hcl", 5, "the specification of services for nines")
	p.heading("description")
	p.text(`A specification is one or more files in HCL: blocks in braces, with one attribute on a line. It is
given with -f PATH: a file, or a folder whose *.hcl are read in name order and merged; else it
is in /etc/nines, and for "nines up" first in ./nines.hcl.

"nines check" reads it and says everything that is wrong with it, with the place and what to write
instead. Unknown attributes and blocks are errors. Nothing is started from a specification that has an error.

Times are strings such as "500ms", "10s", "24h"; sizes "256MiB", "1GB", or a share of the
machine's or the container's memory, "25%"; rates "10MiB/1m", "20/1m".

A file may hold 4 MiB, and all of them together 64 MiB and 3.5 million signs and words, of which
those that are more than names, strings, numbers, lists and maps count six times: some ten
thousand services.`)
	p.example(`service "web" {
  command   = ["/opt/web/web", "--port", port.http]
  instances = 3
  needs     = ["db"]
  port "http" {}
  restart {
    delay = "200ms"
  }
}`)
	p.heading("expressions")
	p.text(`Strings hold ${...}. There are local.NAME, env.NAME, host.name, host.cpus, host.memory, service.name,
and, for each instance, instance.index, instance.id ("web/0"), port.NAME, release.id and
release.path; conditions, lists, maps, for, and the functions`)
	p.words("abs, basename, ceil, chomp, coalesce, compact, concat, contains, dirname, distinct, element, endswith, flatten, floor,")
	p.words("format, formatlist, join, jsondecode, jsonencode, keys, length, lookup, lower, max, merge, min, parseint, range, regex,")
	p.words("regexall, regexreplace, replace, reverse, signum, slice, sort, split, startswith, strlen, strrev, substr, title,")
	p.words("tonumber, tostring, trim, trimprefix, trimspace, trimsuffix, upper, values, zipmap.")
	p.heading("blocks")
	var missing []string
	for _, b := range language() {
		p.subheading(b.head)
		path := b.path
		means := b.means
		if mark(path, &missing) {
			means += " (not in effect yet)"
		}
		p.text(means)
		for _, a := range b.attrs {
			name, _, _ := strings.Cut(a.name, "=") // a value: mode=active-passive
			text := a.means
			if mark(path+"."+a.name, &missing) {
				text += " (not in effect yet)"
			}
			if a.def != "" {
				text += "; default " + a.def
			}
			p.item(bold(name), text)
		}
	}
	for _, v := range values() {
		mark(v, &missing)
	}
	if len(missing) > 0 {
		p.heading("not in effect yet")
		p.text(`This is read and checked; "nines check" warns where it is used.`)
		for _, m := range missing {
			meanwhile, _ := load.NotYet(m)
			p.item(bold(strings.ReplaceAll(m, "=", " = ")), meanwhile)
		}
	}
	p.see(".BR nines (1)", ".BR nines\\-check (1)", ".BR nines\\-init (8)")
	return p
}

// mark notes what has no effect yet.
func mark(path string, missing *[]string) bool {
	_, not := load.NotYet(path)
	if not {
		*missing = append(*missing, path)
	}
	return not
}

// values are single values of attributes which may be without effect while the
// attribute has one.
func values() []string {
	return []string{
		"service.mode=active-passive", "service.crash_loop.then=rollback", "service.listen.share=reuseport", "service.listen.address=udp",
		"service.ready.notify", "service.ready.fd", "service.ready.exec", "service.ready.http", "service.ready.tcp", "service.ready.grpc",
		"service.ready.heartbeat", "service.ready.metrics", "service.ready.outlier", "service.ready.cpu", "service.ready.stall",
	}
}
