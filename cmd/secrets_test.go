package cmd_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const secretsSpec = `
locals {
  token = "KEY-in-locals"
}
service "web" {
  command  = ["sh", "-c", "echo up; exec sleep 100000"]
  env_file = "${env.WORK}/secrets.env"
  env = {
    PLAIN  = "KEY-in-env"
    TWICE  = "x${local.token}"
    OUTER  = env.OUTER
  }
}
service "tool" {
  type    = "task"
  command = ["true"]
  env     = { PLAIN = "KEY-in-env" }
}
service "broken" {
  command = ["/nowhere/KEYless"]
  env     = { PLAIN = "KEY-in-env" }
  env_file = "${env.WORK}/secrets.env"
}
service "misfiled" {
  command  = ["sleep", "100000"]
  env_file = "${env.WORK}/wrong.env"
}
service "shimmed" {
  command = ["/nowhere/KEYless"]
  umask   = "0077"
  env     = { PLAIN = "KEY-in-env" }
}
service "looping" {
  command = ["sh", "-c", "exit 3"]
  env     = { PLAIN = "KEY-in-env" }
}
`

// TestNoSecretAnywhere gives services secrets in every way that there is but
// the command line (which the kernel shows to everybody), uses everything, and
// then looks for them in all that was said, in every file, and in the memory of
// the processes that have no need of them. Folders let nobody list them.
func TestNoSecretAnywhere(t *testing.T) {
	// A word that is nowhere in the programs.
	secret := fmt.Sprintf("s3cr3t%d", os.Getpid())
	bin := binaries(t)
	dir, err := os.MkdirTemp("", "nines")
	if err != nil {
		t.Fatal(err)
	}
	r := &running{dir: dir, bin: bin}
	t.Cleanup(func() { r.cleanUp(t) })
	spec := strings.ReplaceAll(secretsSpec, "KEY-", secret)
	err = errors.Join(os.Chmod(dir, 0o755), os.Mkdir(dir+"/spec", 0o700),
		os.WriteFile(dir+"/spec/nines.hcl", []byte(spec), 0o600),
		os.WriteFile(dir+"/wrong.env", []byte("A="+secret+"\n"+secret+" and no equals sign\n"), 0o600),
		os.WriteFile(dir+"/secrets.env", []byte("FILED="+secret+"-in-file\n"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + dir, "WORK=" + dir,
		"NINES_RUNTIME_DIR=" + dir + "/run", "NINES_STATE_DIR=" + dir + "/state", "NINES_LOG_DIR=" + dir + "/log"}
	r.cmd = exec.Command(bin+"/nines-init", "-f", dir+"/spec/nines.hcl")
	r.cmd.Env = append(slices.Clone(env), "TMPDIR="+dir, "OUTER="+secret+"-outside")
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.out
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.done = make(chan error, 1)
	go func() { r.done <- r.cmd.Wait() }()
	waitFor(t, "it is up", func() error {
		st, err := r.client().Status(t.Context())
		if err == nil && (st.Services[0].State != "running" || st.Services[2].Instances[0].Restarts < 1) {
			err = errors.New(st.Services[0].State)
		}
		return err
	})
	// It is there at all, so that this test looks for the right thing.
	web := status(t, r).Services[0].Instances[0].PID
	if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", web)); err != nil || bytes.Count(b, []byte(secret)) != 4 {
		t.Fatalf("the service has not got its secrets: %v %q", err, b)
	}

	seek := func(where string, b []byte) {
		t.Helper()
		if i := bytes.Index(b, []byte(secret)); i >= 0 {
			t.Errorf("%s shows a secret: …%q…", where, b[max(0, i-60):min(len(b), i+60)])
		}
	}
	for _, args := range everyCommand(t, bin, dir) {
		seek("nines "+strings.Join(args, " "), runOne(t, bin+"/nines", dir, env, args...))
	}
	seek("a wrong spec", wrongSpecs(t, bin, dir, env, secret))
	for _, path := range []string{"/v1/status", "/v1/services/web", "/v1/services/broken", "/v1/events", "/v1/logs"} {
		seek("GET "+path, get(t, r.dir+"/run/control.sock", path))
	}
	// The second supervisor reads the copy of the spec that the first has made.
	before := status(t, r).Supervisor.PID
	if err := unix.Kill(before, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the next supervisor has taken over", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		st, err := r.client().Status(ctx)
		if err == nil && st.Supervisor.PID == before {
			err = errors.New("it is still the first")
		}
		return err
	})
	seek("GET /v1/status of the second", get(t, r.dir+"/run/control.sock", "/v1/status"))

	checkFiles(t, dir, secret)
	for _, pid := range append(r.marked(), r.cmd.Process.Pid) {
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if name := filepath.Base(exe); err != nil || name != "nines-init" && name != "nines-log" {
			continue
		}
		// Its own environment, which holds OUTER, is the caller's affair.
		if where, err := inMemory(pid, secret+"-in"); err != nil {
			t.Errorf("cannot read the memory of %s: %v", exe, err)
		} else if where != "" {
			t.Errorf("%s has a secret in its memory: %s", exe, where)
		}
	}
	runOne(t, bin+"/nines", dir, env, "shutdown")
	seek("what nines-init says", []byte(r.out.String()))
}

// everyCommand is each command that does not end or replace the supervisor,
// also those that this test has never heard of.
func everyCommand(t *testing.T, bin, dir string) [][]string {
	t.Helper()
	own := map[string][][]string{
		"up": nil, "supervise": nil, "shutdown": nil, "upgrade": nil, "help": nil, "completion": nil,
		"status":  {{"status"}, {"status", "--json"}, {"status", "web"}, {"status", "web/0"}, {"status", "broken", "--json"}},
		"check":   {{"check", dir + "/spec"}, {"check", "--json", dir + "/spec"}},
		"events":  {{"events"}, {"events", "--json"}},
		"logs":    {{"logs"}, {"logs", "web"}, {"logs", "broken", "--json"}},
		"scale":   {{"scale", "web", "2"}, {"scale", "web", "1"}, {"scale", "web", "-1"}},
		"signal":  {{"signal", "web", "CONT"}, {"signal", "web", "NOSUCH"}},
		"ready":   {{"ready"}, {"ready", "web", "broken"}},
		"restart": {{"restart", "web"}, {"restart", "--no-wait", "broken"}},
		"fmt":     nil, // it prints the file: that is what it is for
	}
	out, err := exec.Command(bin+"/nines", "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	var all [][]string
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if !strings.HasPrefix(line, "  ") || len(f) < 2 || strings.HasPrefix(f[0], "-") {
			continue
		}
		rows, known := own[f[0]]
		if !known {
			rows = [][]string{{f[0]}, {f[0], "web"}, {f[0], "broken"}, {f[0], "--json"}, {f[0], "-f", dir + "/spec"}}
		}
		all = append(all, rows...)
	}
	if len(all) < 20 {
		t.Fatalf("the help names too few commands:\n%s", out)
	}
	return all
}

// runOne returns all that a command says, whatever its status.
func runOne(t *testing.T, program, dir string, env []string, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Env = dir, env
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %v", args, err)
	}
	return out
}

// wrongSpecs has what is wrong stand beside secrets.
func wrongSpecs(t *testing.T, bin, dir string, env []string, secret string) []byte {
	t.Helper()
	var all []byte
	for i, body := range []string{
		`env = { A = "` + secret + `", bogus }`,
		`env = { A = "` + secret + `" B = 1 }`,
		`env = { A = "` + secret + `${nosuch.thing}" }`,
		`env = { "BAD=NAME" = "` + secret + `" }`,
		`env = ["` + secret + `"]`,
		`env = "` + secret + `"`,
	} {
		file := fmt.Sprintf("%s/wrong%d.hcl", dir, i)
		spec := "service \"web\" {\n  command = [\"true\"]\n  " + body + "\n}\n"
		if err := os.WriteFile(file, []byte(spec), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"check", file}, {"check", "--json", file}, {"up", "-f", file}} {
			all = append(all, runOne(t, bin+"/nines", dir, append(env, "NINES_RUNTIME_DIR="+dir+"/other", "NINES_KEEPER_FD="), args...)...)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Contains(all, []byte("error")) {
		t.Errorf("the wrong specs are right:\n%s", all)
	}
	return all
}

// get makes a request and returns the answer as it comes.
func get(t *testing.T, socket, path string) []byte {
	t.Helper()
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("GET %s: %v %v", path, resp, err)
	}
	var b bytes.Buffer
	if err := resp.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// checkFiles looks at all that nines has made.
func checkFiles(t *testing.T, dir, secret string) {
	t.Helper()
	applied := 0
	for _, top := range []string{"run", "state", "log"} {
		err := filepath.WalkDir(filepath.Join(dir, top), func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			mode := info.Mode().Perm()
			logs := top == "log" // which whoever owns the folder may give to a group
			switch {
			case d.IsDir() && logs && mode&^0o750 == 0, d.IsDir() && mode&^0o711 == 0:
			case d.IsDir():
				t.Errorf("folder %s is %v: others can list it", path, info.Mode())
			case mode&0o077 != 0 && (!logs || mode&^0o640 != 0):
				t.Errorf("file %s is %v: others can read it", path, info.Mode())
			}
			if !info.Mode().IsRegular() {
				return nil
			}
			b, err := os.ReadFile(path)
			if err != nil || !bytes.Contains(b, []byte(secret)) {
				return err
			}
			// The copies of the spec are what a supervisor needs after a crash, and
			// after a boot.
			if strings.HasPrefix(d.Name(), "applied-") && mode == 0o600 {
				applied++
				return nil
			}
			// So is what each revision ran with. Events stand in the same file: that
			// none of them has a secret was seen above.
			if d.Name() == "state.db" && mode == 0o600 {
				return nil
			}
			t.Errorf("file %s holds a secret", path)
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	if applied != 2 {
		t.Errorf("there are %d copies of the applied spec, and not two: this test looks in the wrong place", applied)
	}
}

// inMemory says where a process has a word in its memory; "": nowhere.
func inMemory(pid int, word string) (string, error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return "", err
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return "", err
	}
	defer mem.Close()
	piece := make([]byte, 1<<20)
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		var mode string
		if !strings.Contains(line, " rw") {
			continue // and what is too high for an int64
		}
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil {
			return "", err
		}
		// In pieces that overlap: a reserved range may be large.
		for at := from; at < to; at += int64(len(piece) - len(word)) {
			// What cannot be read was given back meanwhile, and holds nothing.
			n, _ := mem.ReadAt(piece[:min(int64(len(piece)), to-at)], at)
			if bytes.Contains(piece[:n], []byte(word)) {
				return strings.TrimSpace(line), nil
			}
		}
	}
	return "", nil
}
