package spec

import (
	"maps"
	"slices"
	"time"
)

// Type says whether a service stays up or runs to completion.
type Type string

// The service types.
const (
	TypeService Type = "service"
	TypeTask    Type = "task"
)

// Mode says how the replicas of a service share the work.
type Mode string

// The replication modes.
const (
	ActiveActive  Mode = "active-active"
	ActivePassive Mode = "active-passive"
)

// Service is one service block. The first part is what policy reads; Process
// and what follows is what an incarnation runs with.
type Service struct {
	Name string
	Pos  Pos

	Type             Type
	Instances        int
	Mode             Mode
	Enabled          bool
	Needs            []string
	After            []string
	Essential        bool
	AvailableAtLeast int  // resolved: instances-1, at least 1; 0 for one instance
	AvailableSet     bool // it was given: it does not follow what people scale to
	StartTimeout     time.Duration
	Stop             Stop
	Reload           *Reload // nil: `nines reload` is refused
	Restart          Restart
	CrashLoop        CrashLoop
	Recycle          *Recycle
	SLO              float64 // percent; 0 = none
	Ready            *Ready  // nil: ready when exec succeeded
	Checks           []Check
	Update           Update
	Standby          *Standby
	Isolate          *Isolate

	Process Process
	Limits  Limits
	Sandbox *Sandbox
	Listen  []Listen
	Ports   []Port
	Log     Log
	Release *Release
	Data    *Data
}

// Process is what an incarnation is started with. Expr fields may depend on
// the instance.
type Process struct {
	Command     Expr // list of strings, never empty
	User        string
	Group       string
	Groups      []string
	Directory   Expr // string
	Umask       *uint32
	Nice        *int
	OOMScoreAdj *int
	Env         Expr  // map of strings
	EnvFile     Expr  // string
	InheritEnv  *bool // nil: the supervisor's default (PID 1 in a container, `nines up`: true)
	Rlimits     []Rlimit
}

// Unlimited is RLIM_INFINITY.
const Unlimited = ^uint64(0)

// Rlimit is one resource limit: Name as in prlimit(1) ("nofile", "core", …).
type Rlimit struct {
	Name       string
	Soft, Hard uint64
}

// Stop is how an instance is asked to end. Signals are spelt "SIGTERM".
type Stop struct {
	Signal  string
	Timeout time.Duration
	Command Expr // list of strings; "" = none
}

// Reload is what `nines reload` does: a signal, or a command.
type Reload struct {
	Signal  string
	Command Expr
}

// RestartPolicy says after which ends an instance is started again.
type RestartPolicy string

// The restart policies.
const (
	RestartAlways    RestartPolicy = "always"
	RestartOnFailure RestartPolicy = "on-failure"
	RestartNever     RestartPolicy = "never"
)

// Restart is the restart block: delay n is min(Delay*Factor^n, MaxDelay), then
// spread by ± Jitter of itself.
type Restart struct {
	Policy       RestartPolicy
	Delay        time.Duration
	MaxDelay     time.Duration
	Factor       float64 // >= 1
	Jitter       float64 // 0..1, share of the delay
	ResetAfter   time.Duration
	SuccessCodes []int
	FatalCodes   []int
}

// CrashLoopThen is what follows a crash loop.
type CrashLoopThen string

// The answers to a crash loop.
const (
	ThenRollback CrashLoopThen = "rollback"
	ThenHold     CrashLoopThen = "hold"
	ThenStop     CrashLoopThen = "stop"
	ThenShutdown CrashLoopThen = "shutdown"
)

// CrashLoop says what counts as a loop: Failures unrequested ends of one slot
// within Within, or Failures failed starts in a row.
type CrashLoop struct {
	Failures int
	Within   time.Duration
	Then     CrashLoopThen
}

// Recycle is planned replacement: by age or by schedule (cron, five fields).
type Recycle struct {
	MaxAge   time.Duration
	Jitter   float64
	Schedule string
}

// Timing is when a check runs and how often it must fail.
type Timing struct {
	Interval, Timeout   time.Duration
	Failures, Successes int
	InitialDelay        time.Duration
}

// Ready says when an instance is ready: exactly one of Notify, FD, Delay or
// Check is set.
type Ready struct {
	Notify string        // "systemd"
	FD     int           // s6 notification-fd, >= 3
	Delay  time.Duration // ready when up for so long
	Check  *Check        // the first success of a check
}

// Check is a health check of an instance; exactly one kind is not nil. It is
// also what a ready block of a check kind holds (Name is then "ready").
type Check struct {
	Name      string
	Timing    Timing
	OnFailure OnFailure

	Exec      *CheckExec
	HTTP      *CheckHTTP
	TCP       *CheckTCP
	GRPC      *CheckGRPC
	Heartbeat *CheckHeartbeat
	Metrics   *CheckMetrics
	Log       *CheckLog
	Outlier   *CheckOutlier
	CPU       *CheckCPU
	Stall     *CheckStall
}

// CheckExec fails when the command exits non-zero or outlives the timeout.
type CheckExec struct{ Command Expr }

// CheckHTTP fails on no answer, a wrong status or body, or slowness.
type CheckHTTP struct {
	URL        Expr
	Socket     Expr
	Method     string
	StatusLow  int
	StatusHigh int
	Headers    map[string]string
	BodyMatch  string // RE2
	MaxLatency time.Duration
	CAFile     string
	Insecure   bool
}

// CheckTCP fails when nothing accepts.
type CheckTCP struct{ Address Expr }

// CheckGRPC fails when grpc.health.v1 says anything but SERVING.
type CheckGRPC struct {
	Address Expr
	Service string
}

// CheckHeartbeat fails when no WATCHDOG=1 came within the timeout.
type CheckHeartbeat struct{}

// CheckMetrics fails when an expression over a Prometheus endpoint holds.
type CheckMetrics struct {
	URL    Expr
	Expr   string
	Window time.Duration
}

// CheckLog fails when matching lines come faster than Max.
type CheckLog struct {
	Pattern string // RE2
	Max     Rate
}

// LogPattern is a pattern that lines of the output are counted by.
type LogPattern struct {
	Pattern string        // RE2
	Within  time.Duration // over how long; 0: it is enough that one came
}

// Bounds of the log patterns of one service.
const (
	MaxLogPatterns     = 32
	MaxLogPatternBytes = 1024 // of all together
)

// LogPatterns are those that the checks of s, and its ready block, count lines by;
// each once.
func (s *Service) LogPatterns() (all []LogPattern) {
	add := func(p LogPattern) {
		if !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	if r := s.Ready; r != nil && r.Check != nil && r.Check.Log != nil {
		add(LogPattern{Pattern: r.Check.Log.Pattern})
	}
	for i := range s.Checks {
		if l := s.Checks[i].Log; l != nil {
			add(LogPattern{l.Pattern, l.Max.Per})
		}
	}
	return all
}

// CheckOutlier fails when a replica differs from its siblings.
type CheckOutlier struct{ Of string } // memory, cpu, latency

// CheckCPU fails when an instance uses more than Above percent for For.
type CheckCPU struct {
	Above float64
	For   time.Duration
}

// CheckStall fails when an instance makes no progress for For.
type CheckStall struct{ For time.Duration }

// Limits are the cgroup resource blocks. A nil block was not given.
type Limits struct {
	Memory *Memory
	CPU    *CPU
	Pids   *Pids
	IO     *IO
}

// Memory is the memory block: kernel limits, bloat and leaks.
type Memory struct {
	Low, Swap, High, Max, RestartAbove Size
	SwapSet                            bool // swap = "0" is not the absence of swap
	Growth                             Rate
	For, Window                        time.Duration
	OnLeak                             string // restart | alert
	Required                           bool
}

// MinLeakWindow is the shortest window over which growth is judged: eight samples
// a second apart.
const MinLeakWindow = 8 * time.Second

// CPU is cpu.max in percent of one CPU, and cpu.weight.
type CPU struct {
	Max      float64
	Weight   int
	Required bool
}

// Pids is pids.max.
type Pids struct {
	Max      int
	Required bool
}

// IO is io.weight.
type IO struct {
	Weight   int
	Required bool
}

// Isolate is what happens to an instance judged faulty.
type Isolate struct {
	Keep           int
	TTL            time.Duration
	MemoryMaxTotal Size
}

// Sandbox is the sandbox block.
type Sandbox struct {
	NoNewPrivileges bool
	Capabilities    []string // kept; CapsSet says whether the list was given
	CapsSet         bool
	ReadOnly        []string
	Writable        []string
	PrivateTmp      bool
	PrivateNetwork  bool
	PrivatePids     bool
	Syscalls        string // default | strict | none
}

// Listen is a socket that the supervisor binds and keeps.
type Listen struct {
	Name    string
	Address string // tcp://HOST:PORT, udp://HOST:PORT, unix:///PATH?mode=&user=
	Share   string // inherit | reuseport
}

// Port is a port for each instance: Base+index, or a free one when Base is 0.
type Port struct {
	Name string
	Base int
}

// Log is the log block.
type Log struct {
	MaxSize  uint64 // bytes; 0 = never rotate
	Keep     int
	Compress bool
	Rate     uint64   // bytes a second; 0 = no bound
	To       []string // file, stdout
	ToSet    bool     // To was given; if not, a supervisor that is PID 1 in a container uses both
	Streams  string   // merged | split
	Format   string   // text | json
}

// Standby is the standby block of an active-passive service.
type Standby struct {
	Kind            string // warm | cold
	Promote, Demote Reload // signal or command
}

// Update is how a new revision replaces the old one.
type Update struct {
	Order       string // auto | start-first | stop-first
	MaxParallel int
	Canary      int
	MinHealthy  time.Duration
	Deadline    time.Duration
	AutoRevert  bool
	Probation   time.Duration
}

// Release is the binary as a versioned thing.
type Release struct {
	Path  string
	Watch bool
	Keep  int
}

// Data is state that must go back with the binary.
type Data struct {
	Paths        []string
	Restore      bool
	BeforeUpdate []string
	OnRevert     []string
}

// Isolates says whether an instance judged faulty can be frozen and kept while
// its replacement runs: not where the replacement would need a port or a lock
// that the frozen one holds, nor where none are to be kept.
func (s *Service) Isolates() bool {
	if s.Isolate == nil || s.Isolate.Keep <= 0 || s.Data != nil {
		return false
	}
	for _, p := range s.Ports {
		if p.Base > 0 {
			return false
		}
	}
	return true
}

// Equal says whether two checks are the same: attempts of one may stand for
// attempts of the other.
func (c *Check) Equal(o *Check) bool {
	return c.Name == o.Name && c.Timing == o.Timing && c.OnFailure == o.OnFailure &&
		same(c.Exec, o.Exec) && same(c.TCP, o.TCP) && same(c.GRPC, o.GRPC) && same(c.Heartbeat, o.Heartbeat) &&
		same(c.Metrics, o.Metrics) && same(c.Log, o.Log) && same(c.Outlier, o.Outlier) && same(c.CPU, o.CPU) &&
		same(c.Stall, o.Stall) && c.HTTP.equal(o.HTTP)
}

func same[T comparable](a, b *T) bool { return a == b || a != nil && b != nil && *a == *b }

func (c *CheckHTTP) equal(o *CheckHTTP) bool {
	if c == nil || o == nil {
		return c == o
	}
	return c.URL == o.URL && c.Socket == o.Socket && c.Method == o.Method && c.StatusLow == o.StatusLow && c.StatusHigh == o.StatusHigh &&
		maps.Equal(c.Headers, o.Headers) && c.BodyMatch == o.BodyMatch && c.MaxLatency == o.MaxLatency && c.CAFile == o.CAFile && c.Insecure == o.Insecure
}
