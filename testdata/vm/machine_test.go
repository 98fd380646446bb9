package vm

import "testing"

const sleeper = `
service "sleeper" {
  command = ["sleep", "1000"]
}
`

func TestBareMetal(t *testing.T) {
	r := Start(t, Machine{Init: Direct, Spec: sleeper, Script: `
up sleeper
cat /proc/self/mountinfo
hostname
ip addr show lo || true
cat /proc/1/limits
nines status
`, Then: "nines shutdown"}).Wait()
	t.Logf("%s %d %s\n%s\n%s", r.End, r.Exit, r.Took, r.Output, r.Console)
}
