package cmd_test

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"nines/ipc"
)

// TestReadme runs the examples of README.md: the spec is checked and supervised,
// and every command shown beside it is run.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	spec := fence(t, string(text), "hcl", `service "web"`)
	commands := fence(t, string(text), "sh", "nines check")
	bin := binaries(t)
	dir, err := os.MkdirTemp("", "nines")
	if err != nil {
		t.Fatal(err)
	}
	r := &running{dir: dir, bin: bin}
	t.Cleanup(func() { r.cleanUp(t) })
	if err := os.WriteFile(dir+"/nines.hcl", []byte(spec), 0o644); err != nil {
		t.Fatal(err)
	}
	env := []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir,
		"NINES_RUNTIME_DIR=" + dir + "/run", "NINES_STATE_DIR=" + dir + "/state", "NINES_LOG_DIR=" + dir + "/log"}
	command := func(line string) *exec.Cmd {
		cmd := exec.Command("sh", "-ec", line)
		cmd.Dir, cmd.Env = dir, env
		return cmd
	}
	ran := 0
	for line := range strings.Lines(commands) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), "  ")
		switch line {
		case "":
			continue
		case "nines up":
			r.cmd = command("exec " + line)
			r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.out
			if err := r.cmd.Start(); err != nil {
				t.Fatal(err)
			}
			r.done = make(chan error, 1)
			go func() { r.done <- r.cmd.Wait() }()
			waitFor(t, "both instances are ready", func() error {
				_, err := command("nines ready").CombinedOutput()
				return err
			})
		default:
			if out, err := command(line).CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", line, err, out)
			}
		}
		ran++
		if line == "nines status" {
			// The curl example, through the same socket.
			if _, err := ipc.NewClient(dir + "/run/control.sock").Status(t.Context()); err != nil {
				t.Errorf("status by the socket: %v", err)
			}
		}
	}
	if ran < 8 {
		t.Errorf("README shows %d commands: is the block still there?", ran)
	}
	if err := <-r.done; err != nil {
		t.Errorf("nines up ended with %v\n%s", err, r.out.String())
	}
	r.cmd = nil
}

// TestReadmeGroups runs the example of groups and recycling: it is valid, comes up,
// and goes down and up as the text beside it says.
func TestReadmeGroups(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	bin := binaries(t)
	dir, err := os.MkdirTemp("", "nines")
	if err != nil {
		t.Fatal(err)
	}
	r := &running{dir: dir, bin: bin}
	t.Cleanup(func() { r.cleanUp(t) })
	if err := os.WriteFile(dir+"/nines.hcl", []byte(fence(t, string(text), "hcl", `group "shop"`)), 0o644); err != nil {
		t.Fatal(err)
	}
	command := func(line string) *exec.Cmd {
		cmd := exec.Command("sh", "-ec", line)
		cmd.Dir, cmd.Env = dir, []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir,
			"NINES_RUNTIME_DIR=" + dir + "/run", "NINES_STATE_DIR=" + dir + "/state", "NINES_LOG_DIR=" + dir + "/log"}
		return cmd
	}
	if out, err := command("nines check nines.hcl 2>&1").Output(); err != nil || strings.Contains(string(out), "not in effect") {
		t.Fatalf("%v\n%s", err, out)
	}
	r.cmd = command("exec nines up")
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.out
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.done = make(chan error, 1)
	go func() { r.done <- r.cmd.Wait() }()
	ready := func() error { return command("nines ready").Run() }
	waitFor(t, "all are ready", ready)
	if out, err := command("nines signal db SIGKILL").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	waitFor(t, "what comes after db was restarted with it", func() error {
		st, err := ipc.NewClient(dir + "/run/control.sock").Status(t.Context())
		if err != nil {
			return err
		}
		for _, v := range st.Services {
			for _, in := range v.Instances {
				if in.Restarts != 1 || in.State != "ready" {
					return fmt.Errorf("%s is %s, restarted %d times", in.ID, in.State, in.Restarts)
				}
			}
		}
		return nil
	})
	if out, err := command("nines shutdown").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if err := <-r.done; err != nil {
		t.Errorf("nines up ended with %v\n%s", err, r.out.String())
	}
	r.cmd = nil
}

// TestReadmeSpecs: every piece of a specification in README is one that nines reads,
// and all of it has an effect. What is indented stands within a service.
func TestReadmeSpecs(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	bin := binaries(t)
	blocks := regexp.MustCompile("(?s)```hcl\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) < 8 {
		t.Errorf("README has %d pieces of a specification: are they still there?", len(blocks))
	}
	for _, m := range blocks {
		body := m[1]
		if strings.HasPrefix(body, " ") {
			body = "service \"web\" {\n  command = [\"web\"]\n" + body + "}\n"
		} else if !strings.Contains(body, "service \"") {
			body += "service \"web\" {\n  command = [\"web\"]\n}\n" // there must be one
		}
		path := t.TempDir() + "/nines.hcl"
		if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(bin+"/nines", "check", path).CombinedOutput(); err != nil || strings.Contains(string(out), "not in effect") {
			t.Errorf("%v\n%s\n%s", err, body, out)
		}
	}
}

// fence returns the fenced block of that language that holds a text.
func fence(t *testing.T, text, lang, holds string) string {
	t.Helper()
	for _, m := range regexp.MustCompile("(?s)```"+lang+"\n(.*?)```").FindAllStringSubmatch(text, -1) {
		if strings.Contains(m[1], holds) {
			return m[1]
		}
	}
	t.Fatalf("README.md has no %s block with %q", lang, holds)
	return ""
}
