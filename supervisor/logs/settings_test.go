package logs

import (
	"errors"
	"math"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestSettingsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.Custom(func(t *rapid.T) string {
			return string(rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "name"))
		})
		want := Settings{
			Service:  name.Draw(t, "service"),
			Instance: name.Draw(t, "instance"),
			Stream:   rapid.SampledFrom([]string{Out, Err}).Draw(t, "stream"),
			Dir:      strings.ReplaceAll(name.Draw(t, "dir"), "\x00", "_"),
			MaxSize:  rapid.Uint64().Draw(t, "max"),
			Keep:     rapid.IntRange(0, maxKeep).Draw(t, "keep"),
			ToFile:   rapid.Bool().Draw(t, "file"),
			ToStdout: rapid.Bool().Draw(t, "stdout"),
			Format:   FormatText,
			Matches: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Match {
				return Match{name.Draw(t, "pattern"), time.Duration(rapid.Int64Min(0).Draw(t, "within"))}
			}), 0, MaxMatches).Draw(t, "matches"),
		}
		if len(want.Matches) == 0 {
			want.Matches = nil
		}
		line := want.Encode()
		if strings.ContainsAny(line, "\n\x00") {
			t.Fatalf("%q is not one line", line)
		}
		got, err := ParseSettings(line)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: %v: got %+v", line, err, got)
		}
		rel, err := filepath.Rel(filepath.Clean(want.Dir), want.path())
		if err != nil || strings.Count(rel, "/") != 1 || strings.Contains(rel, "..") {
			t.Fatalf("the path %q leads out of %q", want.path(), want.Dir)
		}
	})
}

func TestSettingsBad(t *testing.T) {
	for _, line := range []string{
		"", "service=web", "instance=web/0", "service", "service=web instance=%4", "service=web instance=%zz",
		"service=web instance=web/0 keep=-1", "service=web instance=web/0 keep=10001", "service=web instance=web/0 max_size=x",
		"service=web instance=web/0 match=5", "service=web instance=web/0 match=-1:x", "service=web instance=web/0 match=1:",
		"service=web instance=web/0" + strings.Repeat(" match=1:x", MaxMatches+1), "service=web instance=web/0 file=true", "service=web instance=web/0 dir=%00", "service=" + strings.Repeat("a", maxSettings),
	} {
		if s, err := ParseSettings(line); !errors.Is(err, ErrSettings) {
			t.Errorf("%.40q: %+v, %v", line, s, err)
		}
	}
	if s, err := ParseSettings("service=web instance=web/0 color=blue"); err != nil || s.Stream != Out {
		t.Errorf("an unknown key: %+v, %v", s, err)
	}
}

func TestSettingsPath(t *testing.T) {
	for want, s := range map[string]Settings{
		"/l/web/0.log":             {Service: "web", Instance: "web/0", Stream: Out, Dir: "/l"},
		"/l/web/0.err.log":         {Service: "web", Instance: "web/0", Stream: Err, Dir: "/l"},
		"/l/%2E%2E/x%2F%2E%2E.log": {Service: "..", Instance: "x/..", Stream: Out, Dir: "/l"},
	} {
		if got := s.path(); got != want {
			t.Errorf("%+v: %s, want %s", s, got, want)
		}
	}
}

func FuzzParseSettings(f *testing.F) {
	f.Add("service=web instance=web/0 match=60000000000:ERROR%7Cpanic match=0:up")
	f.Add("service=web instance=web%2F0 stream=err dir=/var/log/nines max_size=10485760 keep=5 file=true stdout=false format=text")
	f.Fuzz(func(t *testing.T, line string) {
		s, err := ParseSettings(line)
		if err != nil {
			return
		}
		again, err := ParseSettings(s.Encode())
		if len(s.Encode()) <= maxSettings && (err != nil || !reflect.DeepEqual(again, s)) {
			t.Fatalf("%q: %+v, then %+v, %v", line, s, again, err)
		}
	})
}

// TestSettingsFit: the longest that nines makes can be read again.
func TestSettingsFit(t *testing.T) {
	s := Settings{Service: strings.Repeat("s", 64), Instance: strings.Repeat("s", 64) + "/9999", Stream: Err, Dir: "/" + strings.Repeat("d", 4000), MaxSize: math.MaxUint64, Rate: math.MaxUint64, Format: FormatJSON}
	for range MaxMatches {
		s.Matches = append(s.Matches, Match{strings.Repeat("|", MaxMatchPattern/MaxMatches), math.MaxInt64})
	}
	if got, err := ParseSettings(s.Encode()); err != nil || !reflect.DeepEqual(got, s) {
		t.Errorf("%d bytes: %v", len(s.Encode()), err)
	}
}

func FuzzParseQuery(f *testing.F) {
	f.Add([]byte(`{"instances":["web/0"],"services":["db"],"lines":-1,"follow":true,"since":"2026-01-02T03:04:05Z"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		if q, err := parseQuery(line); err == nil {
			q.matcher()("web", "web/0")
		}
	})
}
