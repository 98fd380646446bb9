package logs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"nines/testdata/testkit"
)

func FuzzAppendJSON(f *testing.F) {
	f.Add("plain")
	f.Add("quote \" backslash \\ tab \t cr \r nul \x00 del \x7f")
	f.Add("ä€😀\u2028\xff\xf0\x9f\x98")
	f.Fuzz(func(t *testing.T, s string) {
		b := appendJSON(nil, s)
		var got string
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		if want := strings.ToValidUTF8(strings.ReplaceAll(s, "\ufffd", "?"), "\ufffd"); utf8.ValidString(s) && got != s || len([]rune(got)) < len([]rune(want)) {
			t.Fatalf("%q became %q", s, got)
		}
		if bytes.IndexByte(b, '\n') >= 0 {
			t.Fatalf("%q is more than a line", b)
		}
		if !bytes.Equal(b, appendJSON(nil, []byte(s))) {
			t.Fatal("bytes and string differ")
		}
	})
}

// objects reads files of JSON lines, and joins what was cut.
func objects(t testing.TB, paths ...string) (messages []string, all []Object) {
	t.Helper()
	part := ""
	for _, path := range paths {
		b, err := os.ReadFile(path)
		check(t, err)
		for line := range bytes.Lines(b) {
			var o Object
			d := json.NewDecoder(bytes.NewReader(line))
			d.DisallowUnknownFields()
			if err := d.Decode(&o); err != nil {
				t.Fatalf("%s: %.200q: %v", path, line, err)
			}
			all = append(all, o)
			if part += o.Message; !o.Partial {
				messages, part = append(messages, part), ""
			}
		}
	}
	if part != "" {
		t.Fatalf("ends within a line: %q", part)
	}
	return messages, all
}

func TestJSONFile(t *testing.T) {
	r := newRig(t, disk{})
	s := r.settings("web/0")
	s.Format = FormatJSON
	w, _ := r.pipe("web/0.1:out", s)
	euros := strings.Repeat("€", 20_000)
	write(t, w, "one\nsaid \"two\"\n\nbin \x00\xff\n"+euros+"\nno newline")
	check(t, w.Close())
	r.waitEnd("web/0.1:out")
	got, all := objects(t, filepath.Join(r.dir, "web", "0.log"))
	want := []string{"one", `said "two"`, "", "bin \x00\ufffd", euros, "no newline"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if o := all[0]; o.Service != "web" || o.Instance != "web/0" || o.Stream != Out || o.Partial {
		t.Errorf("%+v", o)
	}
	if _, err := time.Parse(stampLayout, all[0].Time); err != nil {
		t.Error(err)
	}
	if n := len(all); n != 6+len(euros)/maxMessage {
		t.Errorf("%d objects", n)
	}
	// The next process reads them from the file.
	r.stop()
	r.start(disk{}, func(c *Config) { c.LogDir = r.dir })
	lines := r.read(Query{Lines: -1})
	text := ""
	for _, l := range lines {
		if text += l.Line; !l.Partial {
			text += "\n"
		}
	}
	if want := strings.Join(want, "\n") + "\n"; text != want || lines[0].Time.IsZero() {
		t.Errorf("%.300q", text)
	}
}

// TestJSONProperty: however it comes, whatever the size of files, what was
// written is there, each file whole objects.
func TestJSONProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		check(t, err)
		s := Settings{Service: "web", Instance: "web/0", Stream: Out, Dir: dir, ToFile: true, Format: FormatJSON,
			MaxSize: rapid.SampledFrom([]uint64{0, 6000, 20_000}).Draw(rt, "max"), Keep: 150}
		l := newLog(disk{}, dir, &testkit.Output{})
		var text strings.Builder
		for range rapid.IntRange(1, 12).Draw(rt, "buffers") {
			b := strings.Repeat(rapid.StringMatching(`[a-z"\\\t€]{0,20}\n?`).Draw(rt, "text"), rapid.SampledFrom([]int{1, 2, 7, 300}).Draw(rt, "times"))
			if b == "" {
				continue
			}
			text.WriteString(b)
			put(l, &s, "a", b, time.Unix(1e9, 0))
		}
		l.writeHeld(&s, "a", time.Unix(1e9, 0))
		l.close()
		got, all := objects(t, logFiles(t, s.path())...)
		want := strings.TrimSuffix(text.String(), "\n")
		if strings.Join(got, "\n") != want {
			rt.Fatalf("got %.300q, want %.300q", strings.Join(got, "\n"), want)
		}
		for _, o := range all {
			if len(o.Message) > maxMessage || !utf8.ValidString(o.Message) {
				rt.Fatalf("a message of %d bytes", len(o.Message))
			}
		}
	})
}

// TestJSONDiskFull: lines lost are counted as in text, in an object.
func TestJSONDiskFull(t *testing.T) {
	dir := t.TempDir()
	s := Settings{Service: "web", Instance: "web/0", Stream: Out, Dir: dir, ToFile: true, Format: FormatJSON}
	fsys := &faulty{}
	l := newLog(fsys, dir, &testkit.Output{})
	now := time.Unix(1e9, 0)
	put(l, &s, "a", "1\nunfin", now)
	fsys.set(func(op, _ string, n int) (int, error) {
		if op == "write" {
			return n / 2, syscall.ENOSPC
		}
		return n, nil
	})
	put(l, &s, "a", "ished\n3\n4\nhalf", now)
	put(l, &s, "a", " a line\n", now)
	fsys.set(nil)
	now = now.Add(time.Minute)
	put(l, &s, "a", "6\n", now)
	l.close()
	b, err := os.ReadFile(s.path())
	check(t, err)
	var got []string
	for line := range bytes.Lines(b) {
		var o Object
		if json.Unmarshal(line, &o) == nil {
			got = append(got, o.Message)
		}
	}
	lost := 0
	for _, m := range got {
		if _, err := fmt.Sscanf(m, "nines: %d lines lost: no space", &lost); err == nil {
			break
		}
	}
	whole := len(got) - 1 // but for the word about those lost
	if whole+lost != 6 || got[0] != "1" || got[len(got)-1] != "6" {
		t.Errorf("%d whole, %d lost: %q", whole, lost, got)
	}
}

// TestFormatChanged: a file may hold both, and is read all the same.
func TestFormatChanged(t *testing.T) {
	r := newRig(t, disk{})
	s := r.settings("web/0")
	w, _ := r.pipe("web/0.1:out", s)
	file := filepath.Join(r.dir, "web", "0.log")
	holds := func(text string) {
		t.Helper()
		eventually(t, text, func() bool { b, err := os.ReadFile(file); return err == nil && strings.Contains(string(b), text) })
	}
	write(t, w, "text\nhalf")
	holds("half")
	s.Format = FormatJSON
	r.rehand("web/0.1:out", s)
	write(t, w, " of it\nobject\nhalf")
	holds(`"message":"object"`)
	s.Format = FormatText
	r.rehand("web/0.1:out", s)
	write(t, w, " again\ntext again\n")
	holds(" text again\n")
	r.stop()
	r.start(disk{}, func(c *Config) { c.LogDir = r.dir })
	got := strings.Join(texts(r.read(Query{Lines: -1})), "|")
	if got != "text|half| of it|object|half| again|text again" {
		t.Errorf("%q", got)
	}
}

// TestStdoutJSON: to stdout as to files, and without prefix or colour.
func TestStdoutJSON(t *testing.T) {
	pr, pw, err := os.Pipe()
	check(t, err)
	r := newRig(t, disk{}, func(c *Config) { c.Stdout, c.ForceStdout, c.Color = pw, true, true })
	s := r.settings("web/0")
	s.Format, s.Stream = FormatJSON, Err
	w, _ := r.pipe("web/0.1:err", s)
	s.Format = FormatText
	s.Instance = "web/1"
	plain, _ := r.pipe("web/1.1:err", s)
	d := json.NewDecoder(pr)
	write(t, w, "hello\n")
	var o Object
	check(t, d.Decode(&o))
	if o.Message != "hello" || o.Stream != Err || o.Instance != "web/0" {
		t.Errorf("%+v", o)
	}
	write(t, plain, "text\n")
	buf := make([]byte, 1000)
	n, err := pr.Read(buf)
	check(t, err)
	if !strings.Contains(string(buf[:n]), "web/1:err | ") {
		t.Errorf("%q", buf[:n])
	}
	r.stop()
	check(t, pw.Close())
	check(t, pr.Close())
}
