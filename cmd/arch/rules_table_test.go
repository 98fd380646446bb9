package arch_test

import (
	"go/ast"
	"strings"
)

// rules is the list. The calls are named by import path.
var rules = []rule{
	{
		name: "init function",
		why:  "every program that links the package runs it, PID 1 too: make a constructor",
		find: func(s *source, r report) {
			for _, d := range s.file.Decls {
				if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
					r(f, "func init")
				}
			}
		},
		bad:  []example{{"ipc/a.go", "package ipc\nfunc init() {}"}},
		good: []example{{"ipc/a.go", "package ipc\ntype t struct{}\nfunc (t) init() {}"}},
	},
	{
		name:  "global state",
		why:   "two of it cannot run in one process or one test: put it into a value that someone owns",
		where: code,
		find:  globals,
		bad: []example{
			{"ipc/a.go", "package ipc\nvar n int\nfunc f() { n++ }"},
			{"ipc/a.go", "package ipc\nvar m = map[int]int{}\nfunc f() { m[1] = 2 }"},
			{"ipc/a.go", "package ipc\nimport \"sync\"\nvar mu sync.Mutex"},
			{"ipc/a.go", "package ipc\nimport \"sync/atomic\"\nvar n atomic.Int64"},
		},
		good: []example{
			{"ipc/a.go", "package ipc\nvar table = map[int]int{1: 2}\nfunc f() int { return table[1] }"},
			{"ipc/a.go", "package ipc\nvar n int\nfunc f() { n := 1; n++ }"},
			{"ipc/a.go", "package ipc\nvar n int\nfunc f(n int) { n++ }"},
		},
	},
	{
		name:  "sleep in a test",
		why:   "it is too short on a slow machine and too long on a fast one: wait for an event, poll a condition in a loop with a deadline, or use testing/synctest",
		where: tests,
		find:  sleeps,
		bad:   []example{{"ipc/a_test.go", "time.Sleep(time.Second)"}, {"ipc/a_test.go", "for { go func() { time.Sleep(1) }() }"}},
		good: []example{
			{"ipc/a_test.go", "for { time.Sleep(time.Millisecond) }"},
			{"ipc/a_test.go", "synctest.Test(t, func(t *testing.T) { time.Sleep(time.Hour) })"},
		},
	},
	{
		name:  "skipped test",
		why:   "a test that cannot run here says so in words: t.Skip(\"skipped: why\")",
		where: tests,
		find:  skips,
		bad:   []example{{"ipc/a_test.go", "t.Skip()"}, {"ipc/a_test.go", "t.SkipNow()"}, {"ipc/a_test.go", `t.Skipf("no %s", "root")`}},
		good:  []example{{"ipc/a_test.go", `t.Skip("skipped: needs root")`}, {"ipc/a_test.go", `t.Skipf("skipped: no %s", "x")`}},
	},
	{
		name: "unfinished",
		why:  "finish it, or file it where work is tracked",
		find: func(s *source, r report) { comments(s, unfinished, r) },
		bad:  []example{{"ipc/a.go", "package ipc\n\n// TO" + "DO: more\n"}, {"ipc/a_test.go", "package ipc\n/* FIX" + "ME */\n"}},
		good: []example{{"ipc/a.go", "package ipc\n\n// What is left to do stands in the list.\n"}},
	},
	{
		name: "silenced linter",
		why:  "all linters are obeyed: mend the line, or take the linter out for everyone",
		find: func(s *source, r report) { comments(s, silenced, r) },
		bad:  []example{{"ipc/a.go", "package ipc\n\nvar x int //no" + "lint:unused\n"}, {"ipc/a.go", "package ipc\n//lint:" + "ignore U1000 x\n"}},
		good: []example{{"ipc/a.go", "package ipc\n\n// This pleases every linter.\n"}},
	},
	{
		name:  "discarded error",
		why:   "handle it, or say in a comment why nothing can be done about it",
		where: code,
		find:  discards,
		bad:   []example{{"ipc/a.go", `_ = os.Remove("x")`}, {"ipc/a.go", "// first\n\n\n\n\n" + `_, _ = os.Create("x")`}},
		good: []example{
			{"ipc/a.go", "// It may be gone already.\n" + `_ = os.Remove("x")`},
			{"ipc/a.go", `_ = os.Remove("x") // it may be gone already`},
			{"ipc/a.go", "// They may be gone already.\n" + "_ = os.Remove(`x`)\n_ = os.Remove(`y`)"},
			{"ipc/a.go", "var i any; _ = i"},
			{"ipc/a.go", "_ = os.Stdin.Close()"},
		},
	},
	{
		name: "long file",
		why:  "split it by meaning",
		find: func(s *source, r report) {
			if s.lines > 600 {
				r(s.file, "more than 600 lines")
			}
		},
		bad:  []example{{"ipc/a.go", "package ipc\n" + strings.Repeat("\n", 600)}},
		good: []example{{"ipc/a.go", "package ipc\n" + strings.Repeat("\n", 598)}},
	},
	{
		name:  "descriptor that services would inherit",
		why:   "a service must get no descriptor of ours: ask for close-on-exec in the call itself, a later fcntl races with the spawner",
		where: product,
		find:  inherited,
		bad: []example{
			{"cgroups/a.go", `unix.Open("/", unix.O_RDONLY, 0)`},
			{"cgroups/a.go", "unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)"},
			{"cgroups/a.go", "unix.Dup(3)"},
			{"cgroups/a.go", "unix.Pipe(nil)"},
		},
		good: []example{
			{"cgroups/a.go", `unix.Open("/", unix.O_RDONLY|unix.O_CLOEXEC, 0)`},
			{"cgroups/a.go", "unix.Pipe2(nil, unix.O_CLOEXEC)"},
			{"cgroups/a.go", "var flags int; unix.Open(`/`, flags, 0)"},
			{"cgroups/a.go", "unix.FcntlInt(3, unix.F_DUPFD_CLOEXEC, 3)"},
		},
	},
	{
		name:  "concurrency in policy",
		why:   "policy is one value that one loop owns: answer with an action and let the loop do it",
		where: in("supervisor/policy"),
		find: func(s *source, r report) {
			ast.Inspect(s.file, func(n ast.Node) bool {
				switch n.(type) {
				case *ast.GoStmt, *ast.SelectStmt, *ast.ChanType, *ast.SendStmt:
					r(n, "goroutine or channel")
				}
				return true
			})
		},
		bad:  []example{{"supervisor/policy/a.go", "go println()"}, {"supervisor/policy/a.go", "var c chan int; c <- 1"}},
		good: []example{{"supervisor/policy/a_test.go", "go println()"}, {"supervisor/a.go", "go println()"}},
	},
	{
		name:  "clock in policy",
		why:   "time is an argument of Step, and a deadline is state",
		where: in("supervisor/policy"),
		find: uses("time.Now", "time.Since", "time.Until", "time.Sleep", "time.After", "time.AfterFunc", "time.NewTimer", "time.NewTicker",
			"time.Tick", "time.Local", "time.LoadLocation"),
		bad:  []example{{"supervisor/policy/a.go", "println(time.Now)"}, {"supervisor/policy/a.go", "package p\nimport x \"time\"\nvar _ = x.Since"}},
		good: []example{{"supervisor/policy/a.go", "println(3 * time.Second)"}, {"supervisor/a.go", "println(time.Now())"}},
	},
	{
		name:  "randomness in policy",
		why:   "the same seed and events must give the same bytes: draw from the machine's own generator",
		where: in("supervisor/policy", "supervisor/policy/..."),
		find: uses("math/rand/v2.*", "-math/rand/v2.New", "-math/rand/v2.NewPCG", "-math/rand/v2.NewChaCha8", "-math/rand/v2.Rand",
			"-math/rand/v2.PCG", "-math/rand/v2.ChaCha8", "-math/rand/v2.Source"),
		bad:  []example{{"supervisor/policy/a.go", "println(rand.IntN(3))"}},
		good: []example{{"supervisor/policy/a.go", "println(rand.New(rand.NewPCG(1, 2)).IntN(3))"}},
	},
	{
		name:  "end of the process from a library",
		why:   "it skips what is deferred and takes the decision from main: return an error",
		where: outside("cmd/...", "testdata/..."),
		find:  uses("os.Exit", "log.Fatal", "log.Fatalf", "log.Fatalln", "log.Panic", "log.Panicf"),
		bad:   []example{{"ipc/a.go", "os.Exit(1)"}},
		good:  []example{{"cmd/nines/a.go", "os.Exit(1)"}},
	},
	{
		name:  "process that nobody reaps",
		why:   "os.Process.Wait holds an OS thread a child and races with the reaper: use supervisor/proc",
		where: in("supervisor", "supervisor/...", "ipc", "cgroups", "spec", "spec/...", "cmd/nines-init", "cmd/nines-exec", "cmd/nines-log"),
		find:  uses("os.StartProcess", "os.FindProcess"),
		bad:   []example{{"supervisor/proc/a.go", `os.StartProcess("x", nil, nil)`}},
		good:  []example{{"supervisor/proc/a_test.go", `os.StartProcess("x", nil, nil)`}},
	},
	{
		name:  "second reaper",
		why:   "whoever waits first takes the status from the other: only the loop, the keeper (both by supervisor/wait), supervisor/entry and supervisor/boot (which runs when the keeper does not) reap (and cgroups, by pid, the one child it makes to try a group)",
		where: outside("supervisor/wait", "supervisor/proc", "supervisor/proc/shim", "supervisor/keeper", "supervisor/entry", "supervisor/boot", "cmd/nines-init", "cgroups", "testdata/..."),
		find:  uses("syscall.Wait4", "golang.org/x/sys/unix.Wait4", "golang.org/x/sys/unix.Waitid"),
		bad:   []example{{"supervisor/a.go", "unix.Wait4(-1, nil, 0, nil)"}},
		good:  []example{{"supervisor/proc/a.go", "unix.Wait4(-1, nil, 0, nil)"}},
	},
	{
		name:  "HTTP without a bound",
		why:   "it has no timeout and is shared by all: build an http.Client or http.Server with its timeouts",
		where: product,
		find: uses("net/http.DefaultClient", "net/http.DefaultServeMux", "net/http.Get", "net/http.Post", "net/http.Head", "net/http.Handle",
			"net/http.HandleFunc", "net/http.ListenAndServe", "net/http.Serve"),
		bad:  []example{{"ipc/a.go", `http.Get("x")`}, {"ipc/a.go", "println(http.DefaultClient)"}},
		good: []example{{"ipc/a.go", "println(http.Client{Timeout: 1})"}, {"ipc/a_test.go", `http.Get("x")`}},
	},
	{
		name:  "print from a library",
		why:   "stdout belongs to the command: return it, or write to an io.Writer that was handed in",
		where: outside("cmd/...", "testdata/..."),
		find:  uses("fmt.Print", "fmt.Printf", "fmt.Println"),
		bad:   []example{{"spec/a.go", "fmt.Println()"}},
		good:  []example{{"cmd/nines/a.go", "fmt.Println()"}, {"spec/a.go", "fmt.Fprintln(os.Stderr)"}},
	},
	{
		name: "context that nobody ends",
		why:  "pass the caller's context",
		find: uses("context.TODO"),
		bad:  []example{{"ipc/a.go", "context.TODO()"}},
		good: []example{{"ipc/a.go", "context.Background()"}},
	},
	{
		name:  "environment read in the depth",
		why:   "what a program depends on is read in its main and handed down",
		where: in("spec", "supervisor/policy", "supervisor/policy/...", "cgroups", "supervisor/journal"),
		find:  uses("os.Getenv", "os.LookupEnv", "os.Environ", "os.Setenv"),
		bad:   []example{{"spec/a.go", `os.Getenv("x")`}},
		good:  []example{{"cmd/nines/a.go", `os.Getenv("x")`}},
	},
}
