package vm

import (
	"strings"
	"testing"
	"time"
)

// TestDelegation: nines in a cgroup that was given to it, in a container with a
// cgroup namespace of its own, beside processes that are not its own, in a cgroup
// without controllers, and where it may not write. It does what can be done
// there, and says what cannot.
func TestDelegation(t *testing.T) {
	t.Parallel()
	const web = `
service "web" {
  command = ["sleep", "1000"]
  memory {
    max = "64MiB"
  }
}
`
	const strict = `
service "web" {
  command = ["sleep", "1000"]
  memory {
    max      = "64MiB"
    required = true
  }
}
`
	r := Run(t, Machine{CPUs: 2, Memory: 1024, Timeout: 5 * time.Minute, Files: map[string]string{"/etc/web.hcl": web, "/etc/strict.hcl": strict}, Spec: `
service "other" {
  command = ["sleep", "1000"]
}
`, Script: `
up other
r=/sys/fs/cgroup
at() { n=$1; shift; nines --runtime-dir /run/$n "$@"; }
# start NAME SPEC COMMAND…: nines-init, by that command, in the cgroup NAME
start() {
	n=$1 spec=$2; shift 2
	"$@" nines-init --runtime-dir /run/$n --state-dir /tmp/$n --log-dir /tmp/$n --machine no -f /etc/$spec.hcl >/out/$n.said 2>&1 &
	eval pid_$n=$!
}
inside() { g=$1; shift; sh -c 'echo $$ >$0/cgroup.procs; exec "$@"' $g "$@"; }
mkdir $r/given $r/shared $r/box $r/box2 $r/outer $r/outer/inner
start given strict inside $r/given
inside $r/shared sleep 1000 &
stranger=$!
start shared web inside $r/shared
start bare web inside $r/outer/inner
inside $r/box sleep 1000 &
start box strict guest container $r/box
start ro web guest container -ro $r/box2
for n in given shared bare box ro; do
	await 60 at $n ready
	at $n status --json >/out/$n.json
done
echo "given: $(cat $r/given/cgroup.procs | wc -w) in it, $(cat $r/given/supervisor/cgroup.procs | wc -w) in its leaf, memory.max $(cat $r/given/nines-*/web/0.1/memory.max)"
echo "box: $(cat $r/box/cgroup.procs | wc -w) in it, $(cat $r/box/supervisor/cgroup.procs | wc -w) in its leaf, memory.max $(cat $r/box/nines-*/web/0.1/memory.max)"
# The next supervisor finds the same tree.
pid() { at given status --json | sed 's/.*"supervisor":{[^}]*"pid":\([0-9]*\).*/\1/'; }
old=$(pid)
kill -9 $old
back() { p=$(pid) && [ -n "$p" ] && [ "$p" != "$old" ]; }
await 60 back
at given restart web
at given status --json >/out/given2.json
# Required, and not to be had: refused before anything is started.
for n in shared bare ro; do
	at $n shutdown
	eval wait \$pid_$n || fail "$n ended with $?"
done
refused() { if wait $1; then fail "$2 was started"; fi; }
start shared strict inside $r/shared; refused $pid_shared shared
start bare strict inside $r/outer/inner; refused $pid_bare bare
start ro strict guest container -ro $r/box2; refused $pid_ro ro
at given shutdown
wait $pid_given || fail "given ended with $?"
[ -z "$(ls -d $r/given/nines-* 2>/dev/null)" ] || fail "its tree is left"
kill $stranger
`})
	for name, want := range map[string]struct{ level, warning string }{
		"given":  {"full", ""},
		"given2": {"full", ""},
		"box":    {"full", ""},
		"shared": {"core", "memory.max of service web is not enforced: there is no memory controller: the cgroup /sys/fs/cgroup/shared also holds processes that are not ours, such as"},
		"bare":   {"core", "memory.max of service web is not enforced: there is no memory controller: not available in the cgroup /sys/fs/cgroup/outer/inner: the memory, cpu, io and pids controllers"},
		"ro":     {"none", "memory.max of service web is not enforced: there is no memory controller: the cgroup2 filesystem at /sys/fs/cgroup is mounted read-only"},
	} {
		st := status(t, r, name+".json")
		if st.Supervisor.Cgroups != want.level || !strings.Contains(strings.Join(st.Supervisor.Warnings, "\n"), want.warning) || want.warning == "" && len(st.Supervisor.Warnings) > 0 {
			t.Errorf("%s: %s, %q", name, st.Supervisor.Cgroups, st.Supervisor.Warnings)
		}
	}
	if was, is := instance(t, status(t, r, "given.json"), "web/0").Cgroup, instance(t, status(t, r, "given2.json"), "web/0").Cgroup; !strings.HasPrefix(was, "/sys/fs/cgroup/given/nines-") || strings.TrimSuffix(is, ".2") != strings.TrimSuffix(was, ".1") {
		t.Errorf("the cgroup was %s and is %s", was, is)
	}
	for _, text := range []string{"given: 0 in it, 3 in its leaf, memory.max 67108864", "box: 0 in it, 4 in its leaf, memory.max 67108864"} {
		if !strings.Contains(r.Output, text) {
			t.Errorf("no %q in\n%s", text, r.Output)
		}
	}
	for _, name := range []string{"shared", "bare", "ro"} {
		if said := string(r.Files[name+".said"]); !strings.Contains(said, "it says required") || !strings.Contains(said, "nothing was started") {
			t.Errorf("%s: %s", name, said)
		}
	}
	t.Logf("%.1fs\n%s", r.Took.Seconds(), r.Output)
}
