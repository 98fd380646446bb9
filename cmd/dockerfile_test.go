package cmd_test

import (
	"encoding/json"
	"errors"
	"os"
	"path"
	"strconv"
	"strings"
	"testing"
)

// TestDockerfiles carries out the last stage of the example images (COPY, USER,
// ENTRYPOINT, HEALTHCHECK) on a bare root filesystem, one with a shell standing
// in for Debian's, and runs what comes of it, read-only.
func TestDockerfiles(t *testing.T) {
	needContainers(t)
	all := &containers{}
	for _, base := range []string{"scratch", "debian"} {
		t.Run(base, func(t *testing.T) {
			t.Parallel()
			b, health := dockerfile(t, "../testdata/container/Dockerfile."+base)
			b.scratch, b.readOnly = base == "scratch", true
			c := b.run(t, all)
			c.until("its health check passes", func() error {
				out, err := c.exec(health...)
				if err != nil {
					err = errors.Join(err, errors.New(out))
				}
				return err
			})
			c.says("web/0 | ")
			if strings.Contains(c.out.String(), "lines are lost") {
				t.Errorf("it wants to write files:\n%s", c.out.String())
			}
			c.stop()
		})
	}
}

// dockerfile reads the last stage.
func dockerfile(t *testing.T, name string) (b box, health []string) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	s := string(text)
	bin := binaries(t)
	b.copied = map[string]string{}
	for line := range strings.Lines(s[strings.LastIndex(s, "\nFROM ")+1:]) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		switch words[0] {
		case "FROM":
		case "COPY":
			from, to := words[1:len(words)-1], words[len(words)-1]
			if from[0] == "--from=build" {
				from = from[1:]
			}
			for _, f := range from {
				built, ok := strings.CutPrefix(f, "/src/bin/")
				if ok {
					b.copied[path.Join(to, built)] = bin + "/" + built
				} else {
					b.copied[path.Join(to, path.Base(f))] = "../" + f
				}
			}
		case "USER":
			uid, _, _ := strings.Cut(words[1], ":")
			if b.uid, err = strconv.Atoi(uid); err != nil {
				t.Fatal(err)
			}
		case "ENTRYPOINT":
			b.args = list(t, line)
		case "HEALTHCHECK":
			health = list(t, line)
		default:
			t.Fatalf("%s: %s is not known here", name, words[0])
		}
	}
	return b, health
}

// list is the JSON list at the end of an instruction.
func list(t *testing.T, line string) (words []string) {
	t.Helper()
	if err := json.Unmarshal([]byte(line[strings.Index(line, "["):]), &words); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return words
}
