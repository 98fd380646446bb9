package notify

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     Message
	}{
		{"nothing", "", Message{}},
		{"one", "READY=1", Message{Ready()}},
		{"newline at the end", "READY=1\n", Message{Ready()}},
		{"empty lines", "\n\nREADY=1\n\n\nSTATUS=\n", Message{Ready(), Status("")}},
		{"value with =", "STATUS=a=b=c", Message{Status("a=b=c")}},
		{"order and repetition", "FDNAME=b\nX_OTHER=1\nFDNAME=a", Message{FDName("b"), {"X_OTHER", "1"}, FDName("a")}},
		{"bytes that are no text", "STATUS=\xff\x00\r", Message{Status("\xff\x00\r")}},
		{"empty value", "X_NINES_VALUE=k ", Message{Value("k", "")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Parse([]byte(c.in))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct {
		name, in, want string
	}{
		{"no =", "READY=1\nGARBAGE", "cannot read the message: line 2: it has no '='"},
		{"no key", "=1", "cannot read the message: line 1: it has no key before '='"},
		{"too long", "A=" + strings.Repeat("x", MaxMessage), "cannot read the message: it is longer than 65536 bytes"},
		{"too many", strings.Repeat("A=\n", MaxFields+1), "cannot read the message: line 1025: it has more than 1024 fields"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := Parse([]byte(c.in))
			var syntax *SyntaxError
			if !errors.As(err, &syntax) || err.Error() != c.want || m != nil {
				t.Errorf("Parse = %v, %v; want nothing and %q", m, err, c.want)
			}
		})
	}
	if _, err := Parse([]byte(strings.Repeat("A=\n", MaxFields))); err != nil {
		t.Errorf("as many fields as there may be: %v", err)
	}
}

func TestParseIsBounded(t *testing.T) {
	for _, in := range [][]byte{bytes.Repeat([]byte("A=\n"), MaxMessage/3), bytes.Repeat([]byte{'\n'}, MaxMessage)} {
		if n := testing.AllocsPerRun(10, func() {
			// Refused or not: it is the cost that counts.
			_, _ = Parse(in)
		}); n > 8 {
			t.Errorf("%v allocations", n)
		}
	}
}

func TestGetIsTheLast(t *testing.T) {
	m := Message{Status("a"), Ready(), Status("b")}
	if v, ok := m.Get(KeyStatus); v != "b" || !ok {
		t.Errorf("Get = %q, %v", v, ok)
	}
	if v, ok := m.Get("NONE"); v != "" || ok {
		t.Errorf("Get of none = %q, %v", v, ok)
	}
}

func TestAppendKeepsFieldsApart(t *testing.T) {
	b := Message{Status("ok\nX_NINES_END=0"), {"A\nB", ""}}.Append([]byte("> "))
	if got, want := string(b), "> STATUS=ok X_NINES_END=0\nA B="; got != want {
		t.Errorf("Append = %q, want %q", got, want)
	}
	if f := Status("ab"); f.Len() != len(f.Append(nil)) {
		t.Errorf("Len = %d", f.Len())
	}
}

func TestValuesAndEnds(t *testing.T) {
	for _, c := range []struct {
		in, key, value string
		ok             bool
	}{{"web/0 a b", "web/0", "a b", true}, {"web/0 ", "web/0", "", true}, {"web/0", "web/0", "", false}, {"", "", "", false}} {
		if k, v, ok := SplitValue(c.in); k != c.key || v != c.value || ok != c.ok {
			t.Errorf("SplitValue(%q) = %q, %q, %v", c.in, k, v, ok)
		}
	}
	for in, want := range map[string]int{"0": 0, "7": 7, "255": 255, "256": -1, "-1": -1, "": -1, "1 ": -1, "x": -1, "+1": -1} {
		if n, ok := ParseEnd(in); ok != (want >= 0) || ok && n != want {
			t.Errorf("ParseEnd(%q) = %d, %v", in, n, ok)
		}
	}
	if f := End(143); f.Value != "143" {
		t.Errorf("End = %v", f)
	}
}

// FuzzParse: any bytes are read or refused, within bounds; what was read is
// written and read again as the same.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"READY=1", "FDSTORE=1\nFDNAME=web/0.17:out\nX_NINES_LOG=file=true", "X_NINES_VALUE=k v", "=", "\n", "a"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if err != nil {
			if m != nil {
				t.Errorf("a message beside the error %v", err)
			}
			return
		}
		if len(m) > MaxFields || len(b) > MaxMessage {
			t.Errorf("%d fields, %d bytes", len(m), len(b))
		}
		again, err := Parse(m.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(m, again); d != "" {
			t.Error(d)
		}
		for _, x := range m {
			if _, ok := m.Get(x.Key); !ok || x.Key == "" {
				t.Errorf("cannot get %q", x.Key)
			}
		}
	})
}

// TestCorpus keeps the saved inputs readable by `go test` alone.
func TestCorpus(t *testing.T) {
	entries, err := os.ReadDir("testdata/fuzz/FuzzParse")
	if err != nil || len(entries) == 0 {
		t.Fatalf("%d saved inputs: %v", len(entries), err)
	}
	for i, e := range entries {
		if b, err := os.ReadFile("testdata/fuzz/FuzzParse/" + e.Name()); err != nil || !bytes.HasPrefix(b, []byte("go test fuzz v1\n")) {
			t.Errorf("entry %s (%s): %v", strconv.Itoa(i), e.Name(), err)
		}
	}
}
