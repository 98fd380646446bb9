package vm

import "testing"

func TestScriptOnly(t *testing.T) {
	r := Run(t, Machine{Init: ScriptOnly, Script: `
echo hello
mkdir -p /out/a; echo x >/out/a/b
cat /sys/fs/cgroup/cgroup.controllers
cat /proc/uptime
`})
	t.Logf("%.2fs %s %s", r.Took.Seconds(), r.Output, r.Files["a/b"])
}

func TestPlain(t *testing.T) {
	r := Run(t, Machine{Spec: `
service "sleep" {
  command = ["sleep", "1000"]
  instances = 3
}
`, Script: `
up sleep
nines status
nines status --json >/out/status.json
cat /proc/uptime
`})
	t.Logf("%.2fs %s %s %s", r.Took.Seconds(), r.Output, r.Files["status.json"], r.Console)
}
