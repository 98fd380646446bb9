package vm

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// execTimeout bounds a package's tests; go's own -timeout comes first.
const execTimeout = 11 * time.Minute

// Exec runs a package's test binary in a machine without nines, as root with
// every controller, in a copy of the package's folder and its testdata, and copies
// what it prints to out. It is the body of vmexec, which "go test -exec" calls in that
// folder. The status is the binary's; an error is the machine's.
//
// A coverage profile is brought back to where go wants it. What go only looks at
// to cache results is left out: run it with -count=1.
func Exec(binary string, args []string, out io.Writer) (status int, err error) {
	k, err := Fetch()
	if err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "nines-vm-")
	if err != nil {
		return 0, err
	}
	defer removeAll(dir, &err)
	m, profile, err := execMachine(binary, args)
	if err != nil {
		return 0, err
	}
	v, err := start(m, k, dir)
	if err != nil {
		return 0, err
	}
	r := v.Wait()
	if _, err := io.WriteString(out, r.Output); err != nil {
		return 0, err
	}
	if r.Exit < 0 || r.End != PowerOff {
		return 0, fmt.Errorf("the virtual machine ended by itself: %s after %.1fs; its console: %s", r.End, r.Took.Seconds(), r.Console)
	}
	if profile != "" {
		if err := os.WriteFile(profile, r.Files["cover"], 0o644); err != nil {
			return 0, err
		}
	}
	return r.Exit, nil
}

// execMachine is the machine for a test binary; profile is where go wants the
// coverage profile, "" for nowhere.
func execMachine(binary string, args []string) (m Machine, profile string, err error) {
	pwd, err := os.Getwd()
	if err != nil {
		return m, "", err
	}
	body, err := os.ReadFile(binary)
	if err != nil {
		return m, "", err
	}
	m = Machine{Init: ScriptOnly, CPUs: 2, Memory: 1024, Timeout: execTimeout, Env: []string{"TMPDIR=/tmp"},
		Files: map[string]string{"/usr/bin/package.test": string(body)}}
	if err := packFolder(m.Files, pwd); err != nil {
		return m, "", err
	}
	line := "exec /usr/bin/package.test"
	for _, a := range args {
		name, value, _ := strings.Cut(a, "=")
		switch name {
		case "-test.testlogfile", "-test.gocoverdir":
			continue
		case "-test.coverprofile":
			profile, a = value, name+"=/out/cover"
		}
		line += " " + quote(a)
	}
	m.Script = "cd /package\n" + line
	return m, profile, nil
}

// quote makes one word of text for sh.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// packFolder adds a package's own files and its testdata, below /package.
func packFolder(files map[string]string, dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		rel := strings.TrimPrefix(path, dir+"/")
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != dir && rel != "testdata" && !strings.HasPrefix(rel, "testdata/"):
			return fs.SkipDir
		case !d.Type().IsRegular():
			return nil
		}
		body, err := os.ReadFile(path)
		files["/package/"+rel] = string(body)
		return err
	})
}
