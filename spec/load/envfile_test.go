package load

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func envFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestEnvFile(t *testing.T) {
	got, err := EnvFile(envFile(t, `
# a comment
; another \
continued A=not
A=1
 B = two words  
C="double \"quoted\" \$x \n stays"
D='single \n "raw"'
E=
F=a\
b
G="first
second"
H=x"y"'z'
I=a#b
J=a=b
K=back\\slash\ 
L="tail "   
M=ü
A=2
WIN=crlf`+"\r\nLAST=end"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"A": "2", "B": "two words", "C": `double "quoted" $x \n stays`, "D": `single \n "raw"`, "E": "", "F": "ab", "G": "first\nsecond",
		"H": "xyz", "I": "a#b", "J": "a=b", "K": `back\slash `, "L": "tail ", "M": "ü", "WIN": "crlf", "LAST": "end",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestEnvFileErrors(t *testing.T) {
	for _, test := range []struct {
		text string
		line int
		want string
	}{
		{"A=1\nhunter2\n", 2, `no "="`},
		{"\n\nexport A=1", 3, "leave out \"export\""},
		{"A B=1", 1, "letters, digits"},
		{"1A=1", 1, "does not begin with a digit"},
		{"=1", 1, "empty"},
		{"NINES_X=1", 1, "set by the supervisor"},
		{"A=1\nB='hunter2\nx", 2, "single quote is not closed"},
		{"A=\"hunter2", 1, "double quote is not closed"},
		{"A=\"hunter2\\", 1, "double quote is not closed"},
		{"A=1\nB=hunter2\xff", 2, "not UTF-8"},
		{"A=hunter2\x00", 1, "zero byte"},
	} {
		file := envFile(t, test.text)
		_, err := EnvFile(file)
		var e *EnvFileError
		if !errors.As(err, &e) || e.Line != test.line || e.File != file || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v; want line %d, %q", test.text, err, test.line, test.want)
		}
	}
	if _, err := EnvFile("/nowhere/env"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if m, err := EnvFile("-/nowhere/env"); err != nil || len(m) != 0 {
		t.Errorf("%v %v", m, err)
	}
	if _, err := EnvFile("/dev/zero"); err == nil {
		t.Error("a device was read")
	}
	if _, err := EnvFile(envFile(t, "A="+strings.Repeat("x", maxEnvFile))); err == nil || !strings.Contains(err.Error(), "larger than 2MiB") {
		t.Errorf("%v", err)
	}
}

func FuzzEnvFile(f *testing.F) {
	f.Add("A=1\n# x\nB=\"a\\\"b\"\nC='x'\nD=a\\\nb\n")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := parseEnv("x", text)
		if (m == nil) == (err == nil) {
			t.Fatal(m, err)
		}
		for k, v := range m {
			if k == "" || strings.ContainsAny(k, "=\x00\n ") || strings.ContainsRune(v, 0) {
				t.Fatalf("%q=%q", k, v)
			}
		}
	})
}
