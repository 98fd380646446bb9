package vm

import (
	"strings"
	"testing"
)

// TestUpdatePowerCut: guarantee 11 for revisions. The power goes while a version is
// tried that does not work, and after a person's rollback was acknowledged: the first is
// reverted at the next boot, the second holds, and what was found to be bad stays out.
// More moments are cut in cmd (TestUpdateKillPoints), where the supervisor alone dies.
func TestUpdatePowerCut(t *testing.T) {
	t.Parallel()
	const serves = "#!/bin/sh\n# %\nexec misbehave listen drain\n"
	m := Machine{
		VirtualTime: true,
		Disks:       []Disk{NewDisk(t, 64, "/var/lib/nines")},
		Files: map[string]string{
			"/etc/web1": strings.ReplaceAll(serves, "%", "1"),
			"/etc/web2": strings.ReplaceAll(serves, "%", "2"),
			"/etc/web3": "#!/bin/sh\nsleep 5\nexit 78\n",
		},
		Spec: `
service "web" {
  command   = ["/etc/web1"]
  instances = 3
  listen "s" {
    address = "unix:///tmp/web"
  }
  release {
    path = "/etc/web1"
  }
  update {
    min_healthy = "10s"
    deadline    = "2m"
  }
}
`,
		Script: `
up web
states() { nines history web --json | tr '{' '\n' | sed -n 's/.*"revision":\([0-9]*\),"state":"\([a-z]*\)".*/\1 \2/p' | sort -n | tr '\n' ' '; }
are() { [ "$(states)" = "$1" ] || fail "$(nines history web)"; }
seldom() { until "$@" >/tmp/seldom 2>&1; do sleep 2; done; }
told() { nines events | grep -q "$1"; }
case "$(states)" in
"1 current ")
	nines deploy web /etc/web2 --wait
	are "1 previous 2 current "
	nines deploy web /etc/web3
	seldom told 'revision 3 replaces 2'
	echo TRIED
	read nothing
	;;
"1 previous 2 current 3 bad " | "1 previous 2 previous 3 candidate ")
	seldom told 'revision 3 is bad and was reverted, 2 is back: web/0: exited with code 78'
	are "1 previous 2 current 3 bad "
	nines rollback web
	echo BACK
	read nothing
	;;
*)
	are "1 current 2 previous 3 bad "
	if nines deploy web /etc/web3 >/tmp/refused 2>&1; then fail "what is bad is deployed"; fi
	grep -q 'marked bad' /tmp/refused
	;;
esac
`}
	for _, until := range []string{"TRIED", "BACK", ""} {
		v := Start(t, m)
		if until != "" {
			v.Expect(until)
			v.Cut()
		}
		r := v.Wait()
		if until == "" && r.Exit != 0 || until != "" && r.End != Cut {
			r.Fatal(t, "exit status %d, the machine's end: %s", r.Exit, r.End)
		}
		t.Logf("%s", r.Output)
	}
}
