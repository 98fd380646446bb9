package load

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nines/spec"
)

// TestDefaults is language.md's tables: what a spec says when it says least.
func TestDefaults(t *testing.T) {
	s := mustLoad(t, "service \"web\" {\n  command = [\"/bin/web\"]\n}\n")
	web := s.Services[0]
	if web.Pos.Line != 1 || web.Pos.Column != 1 || web.Pos.File == "" {
		t.Errorf("place is %+v", web.Pos)
	}
	web.Pos = spec.Pos{}
	want := &spec.Spec{
		Supervisor: spec.Supervisor{ShutdownTimeout: time.Minute, Control: spec.Control{Mode: 0o600}},
		Services: []*spec.Service{{
			Name: "web", Type: "service", Instances: 1, Mode: "active-active", Enabled: true,
			StartTimeout: 30 * time.Second,
			Stop:         spec.Stop{Signal: "SIGTERM", Timeout: 10 * time.Second},
			Restart: spec.Restart{Policy: "always", Delay: 100 * time.Millisecond, MaxDelay: 30 * time.Second, Factor: 2, Jitter: 0.1,
				ResetAfter: time.Minute, SuccessCodes: []int{0}, FatalCodes: []int{78, 125}},
			CrashLoop: spec.CrashLoop{Failures: 5, Within: time.Minute, Then: "rollback"},
			Update: spec.Update{Order: "auto", MaxParallel: 1, Canary: 1, MinHealthy: 10 * time.Second, Deadline: 5 * time.Minute,
				AutoRevert: true, Probation: time.Hour},
			Process: spec.Process{Command: `["/bin/web"]`},
			Log:     spec.Log{MaxSize: 10 << 20, Keep: 5, Compress: true, To: []string{"file"}, Streams: "merged", Format: "text"},
		}},
	}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Errorf("defaults differ (-want +got):\n%s", diff)
	}
	if task := oneService(t, `type = "task"`); task.Restart.Policy != "on-failure" {
		t.Errorf("a task's policy is %q", task.Restart.Policy)
	}
}

// TestBlockDefaults: what an empty block means.
func TestBlockDefaults(t *testing.T) {
	check := func(body string) spec.Check {
		return oneService(t, "instances = 3\ncheck \"c\" {\n"+body+"\n}\nport \"http\" {\n}\n").Checks[0]
	}
	timing := spec.Timing{Interval: 10 * time.Second, Timeout: time.Second, Failures: 3, Successes: 1}
	for _, test := range []struct {
		name      string
		got, want any
	}{
		{"check", check("heartbeat {\n}"), spec.Check{Name: "c", Timing: timing, OnFailure: "restart", Heartbeat: &spec.CheckHeartbeat{}}},
		{"http", check("http {\nurl = \"http://127.0.0.1:${port.http}/\"\n}").HTTP, &spec.CheckHTTP{URL: `"http://127.0.0.1:${port.http}/"`, Method: "GET", StatusLow: 200, StatusHigh: 399}},
		{"http status", check("http {\nurl = \"http://x/\"\nstatus = 204\nmethod = \"head\"\n}").HTTP, &spec.CheckHTTP{URL: `"http://x/"`, Method: "HEAD", StatusLow: 204, StatusHigh: 204}},
		{"log", check("log {\npattern = \"x\"\n}").Log, &spec.CheckLog{Pattern: "x", Max: spec.Rate{Count: 20, Per: time.Minute}}},
		{"outlier", check("outlier {\n}").Outlier, &spec.CheckOutlier{Of: "memory"}},
		{"cpu", check("cpu {\n}").CPU, &spec.CheckCPU{Above: 95, For: 30 * time.Second}},
		{"stall", check("stall {\n}").Stall, &spec.CheckStall{For: 5 * time.Second}},
		{"metrics", check("metrics {\nurl = \"http://x/\"\nexpr = \"rate(a) > 1\"\n}").Metrics, &spec.CheckMetrics{URL: `"http://x/"`, Expr: "rate(a) > 1", Window: 30 * time.Second}},
		{"reload", oneService(t, "reload {\n}").Reload, &spec.Reload{Signal: "SIGHUP"}},
		{"isolate", oneService(t, "isolate {\n}").Isolate, &spec.Isolate{Keep: 1, TTL: time.Hour, MemoryMaxTotal: spec.Size{Percent: 25}}},
		{"sandbox", oneService(t, "sandbox {\n}").Sandbox, &spec.Sandbox{NoNewPrivileges: true, Syscalls: "default"}},
		{"release", oneService(t, "release {\npath = \"/x\"\n}").Release, &spec.Release{Path: "/x", Watch: true, Keep: 5}},
		{"recycle", oneService(t, "recycle {\nmax_age = \"24h\"\n}").Recycle, &spec.Recycle{MaxAge: 24 * time.Hour, Jitter: 0.1}},
		{"memory", oneService(t, "memory {\nmax = \"25%\"\nswap = \"0\"\n}").Limits.Memory, &spec.Memory{Max: spec.Size{Percent: 25}, SwapSet: true, For: 30 * time.Second, Window: 10 * time.Minute, OnLeak: "restart"}},
		{"cpu limit", oneService(t, "cpu {\nmax = \"150%\"\n}").Limits.CPU, &spec.CPU{Max: 150, Weight: 100}},
		{"io", oneService(t, "io {\n}").Limits.IO, &spec.IO{Weight: 100}},
		{"pids", oneService(t, "pids {\nmax = 512\n}").Limits.Pids, &spec.Pids{Max: 512}},
		{"data", oneService(t, "data {\npaths = [\"/d\"]\nbefore_update = []\n}").Data, &spec.Data{Paths: []string{"/d"}}},
		{"standby", oneService(t, "instances = 2\nmode = \"active-passive\"").Standby, &spec.Standby{Kind: "warm", Promote: spec.Reload{Signal: "SIGUSR1"}, Demote: spec.Reload{Signal: "SIGUSR2"}}},
		{"budget of 1", oneService(t, "instances = 1").AvailableAtLeast, 0},
		{"budget of 2", oneService(t, "instances = 2").AvailableAtLeast, 1},
		{"budget of 5", oneService(t, "instances = 5").AvailableAtLeast, 4},
		{"budget given", oneService(t, "instances = 5\navailable_at_least = 2").AvailableAtLeast, 2},
		{"null is not given", oneService(t, "instances = null\nuser = null\ncommand = [\"x\"]").Instances, 1},
	} {
		if diff := cmp.Diff(test.want, test.got); diff != "" {
			t.Errorf("%s differs (-want +got):\n%s", test.name, diff)
		}
	}
}

func TestNodeDefaults(t *testing.T) {
	s := mustLoad(t, `
check "d" {
  disk {
  }
}
check "c" {
  clock {
  }
}
check "p" {
  pressure {
  }
}
service "web" {
  command = ["x"]
}
group "g" {
  members = ["web"]
}
`)
	timing := spec.Timing{Interval: 10 * time.Second, Timeout: time.Second, Failures: 3, Successes: 1}
	want := []spec.NodeCheck{
		{Name: "d", Timing: timing, OnFailure: "alert", Disk: &spec.NodeDisk{Path: "/", Free: 5, Inodes: 5, Writable: true}},
		{Name: "c", Timing: timing, OnFailure: "alert", Clock: &spec.NodeClock{Step: time.Second}},
		{Name: "p", Timing: timing, OnFailure: "alert", Pressure: &spec.NodePressure{Of: "memory", Above: 20}},
	}
	if diff := cmp.Diff(want, s.Checks); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]spec.Group{{Name: "g", Members: []string{"web"}, Strategy: "one_for_one"}}, s.Groups); diff != "" {
		t.Error(diff)
	}
}

// TestAttributes reads every attribute of a service's process and log.
func TestAttributes(t *testing.T) {
	s := oneService(t, `
user          = 0
group         = "root"
groups        = ["daemon"]
directory     = "/tmp"
umask         = "0027"
nice          = -5
oom_score_adj = 100
inherit_env   = true
env_file      = "/etc/default/${service.name}"
env           = { B = 1, A = true, "x.y" = "z" }
rlimits       = { nofile = "1024:4096", core = "unlimited", memlock = "64MiB" }
needs         = []
essential     = true
enabled       = false
start {
  timeout = "1m"
}
stop {
  signal  = 9
  timeout = "0s"
  command = ["/bin/stop", instance.index]
}
reload {
  command = ["/bin/reload"]
}
log {
  max_size = ""
  keep     = 0
  compress = false
  rate     = "60MiB/1m"
  to       = ["stdout"]
}
`)
	mask, nice, oom, inherit := uint32(0o27), -5, 100, true
	want := spec.Process{
		Command: `["/bin/web"]`, User: "0", Group: "root", Groups: []string{"daemon"}, Directory: `"/tmp"`,
		Umask: &mask, Nice: &nice, OOMScoreAdj: &oom, InheritEnv: &inherit, EnvFile: `"/etc/default/web"`,
		Env: `{ A = "true", B = "1", "x.y" = "z" }`,
		Rlimits: []spec.Rlimit{{Name: "core", Soft: spec.Unlimited, Hard: spec.Unlimited}, {Name: "memlock", Soft: 64 << 20, Hard: 64 << 20},
			{Name: "nofile", Soft: 1024, Hard: 4096}},
	}
	if diff := cmp.Diff(want, s.Process); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(spec.Stop{Signal: "SIGKILL", Command: `["/bin/stop", instance.index]`}, s.Stop); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(spec.Log{Rate: 1 << 20, To: []string{"stdout"}, ToSet: true, Streams: "merged", Format: "text"}, s.Log); diff != "" {
		t.Error(diff)
	}
	if !s.Essential || s.Enabled || s.StartTimeout != time.Minute || s.Reload.Command != `["/bin/reload"]` {
		t.Errorf("%+v", s)
	}
}

// TestNotInEffect: what works now warns of nothing.
func TestNotInEffect(t *testing.T) {
	_, diags := loadText(t, `
supervisor {
  state_dir        = "/var/lib/nines"
  shutdown_timeout = "30s"
  watchdog         = ""
  metrics          = ""
  web              = ""
  control {
    group = ""
    mode  = "0600"
  }
}
locals {
  x = 1
}
service "web" {
  command   = ["/bin/web", port.http]
  type      = "service"
  mode      = "active-active"
  instances = 2
  start {
    timeout = "1s"
  }
  restart {
    policy = "on-failure"
  }
  crash_loop {
    then = "hold"
  }
  ready {
    delay = "100ms"
  }
  port "http" {
  }
  log {
    max_size = "1MiB"
    compress = false
    rate     = ""
    streams  = "merged"
    format   = "text"
  }
}
`)
	if len(diags) > 0 {
		t.Errorf("unexpected:\n%s", render(t, diags))
	}
}
