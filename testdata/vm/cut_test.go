package vm

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestApplyPowerCut: guarantee 11. The power goes amid applies: what was acknowledged
// last, or what had not been acknowledged yet, holds at the next boot; the journal
// opens and has what was before; a stop is forgotten.
func TestApplyPowerCut(t *testing.T) {
	t.Parallel()
	m := Machine{
		Disks: []Disk{NewDisk(t, 64, "/var/lib/nines")},
		Spec:  fmt.Sprintf(cutSpec, 0),
		Files: map[string]string{"/etc/cut.hcl": cutSpec},
		Script: `
up web other
await 20 test -e /tmp/runs
echo "RUNS $(cat /tmp/runs)"
echo "TROUBLE $(nines events | grep -c 'journal_failed\|journal_replaced')"
echo "APPLIED $(nines events | grep -c 'spec_applied')"
echo BOOTED
read n
nines stop other
while :; do
	n=$((n+1))
	sed "s/%d/$n/" /etc/cut.hcl >/tmp/cut.hcl
	nines apply -f /etc/nines/00-driver.hcl -f /tmp/cut.hcl --no-wait >/dev/null
	echo "ACK $n."
done
`}
	least, most := 0, 0 // what may run
	for boot, until := range []int{5, 0} {
		v := Start(t, m)
		v.Expect("BOOTED")
		if until > 0 {
			v.Send(strconv.Itoa(most) + "\n")
			v.Expect(fmt.Sprintf("ACK %d.", most+until))
		}
		v.Cut()
		r := v.Wait()
		runs, applied := said(t, r, "RUNS"), said(t, r, "APPLIED")
		if runs < least || runs > most {
			r.Fatal(t, "boot %d: %d runs; %d was acknowledged last", boot, runs, least)
		}
		if n := said(t, r, "TROUBLE"); n > 0 {
			r.Fatal(t, "boot %d: the journal was in trouble %d times", boot, n)
		}
		if boot > 0 && applied < boot+1 {
			r.Fatal(t, "boot %d: the journal has %d applies: it has lost those of earlier boots", boot, applied)
		}
		acks := regexp.MustCompile(`ACK (\d+)\.`).FindAllStringSubmatch(r.Output, -1)
		if len(acks) == 0 {
			continue
		}
		n, err := strconv.Atoi(acks[len(acks)-1][1])
		if err != nil {
			t.Fatal(err)
		}
		least, most = n, n+1
	}
}

const cutSpec = `
service "web" {
  command = ["sh", "-c", "echo %d >/tmp/runs; exec sleep 100000"]
}
service "other" {
  command = ["sleep", "100000"]
}
`

// said is the number behind the first such word that the script printed.
func said(t *testing.T, r Result, word string) int {
	t.Helper()
	_, rest, _ := strings.Cut(r.Output, word+" ")
	line, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		r.Fatal(t, "%s: %v", word, err)
	}
	return n
}
