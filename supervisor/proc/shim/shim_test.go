package shim

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"strings"
	"syscall"
	"testing"
)

func full() *Settings {
	umask, nice, oom := uint32(0o27), -7, -500
	return &Settings{
		Credential:  &Credential{UID: 1, GID: math.MaxUint32, Groups: []uint32{3, 4, 5}},
		Umask:       &umask,
		Nice:        &nice,
		OOMScoreAdj: &oom,
		Listen:      2,
		Ready:       9,
		Watchdog:    true,
		Rlimits:     []Rlimit{{Resource: 7, Soft: 1, Hard: math.MaxUint64}, {Resource: 0, Soft: 1 << 40, Hard: 1 << 41}},
		Dir:         "/var/lib/x",
		Path:        "/usr/bin/x",
		Argv:        []string{"x", "", "ä b"},
		Env:         []string{"A=1", "B="},
	}
}

func TestRoundTrip(t *testing.T) {
	for _, s := range []*Settings{full(), {Path: "x", Argv: []string{""}}, {Path: "/x", Argv: []string{"x"}, Credential: &Credential{}}} {
		b, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(b)
		if err != nil || !reflect.DeepEqual(got, s) {
			t.Errorf("%+v, %v\nwant %+v", got, err, s)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	for _, s := range []*Settings{
		{},
		{Path: "/x"},
		{Argv: []string{"x"}},
		{Path: "/x", Argv: []string{strings.Repeat("x", MaxSize)}},
	} {
		if _, err := s.Encode(); err == nil {
			t.Errorf("%d bytes of arguments were encoded", len(s.Argv))
		}
	}
}

// TestDecodeRefuses: every prefix, and every value that nines-exec could not
// set or that would be read otherwise by the kernel.
func TestDecodeRefuses(t *testing.T) {
	b, err := full().Encode()
	if err != nil {
		t.Fatal(err)
	}
	for n := range b {
		if _, err := Decode(b[:n]); !errors.Is(err, ErrSettings) {
			t.Errorf("the first %d of %d bytes: %v", n, len(b), err)
		}
	}
	if _, err := Decode(append(bytes.Clone(b), 0)); !errors.Is(err, ErrSettings) {
		t.Errorf("one byte more: %v", err)
	}
	if _, err := Decode(make([]byte, MaxSize+1)); !errors.Is(err, ErrSettings) {
		t.Errorf("too long: %v", err)
	}
	for name, change := range map[string]func(*Settings){
		"umask":    func(s *Settings) { *s.Umask = 0o1000 },
		"nice":     func(s *Settings) { *s.Nice = 20 },
		"oom":      func(s *Settings) { *s.OOMScoreAdj = 1001 },
		"resource": func(s *Settings) { s.Rlimits[0].Resource = 16 },
		"limits":   func(s *Settings) { s.Rlimits = make([]Rlimit, 17) },
		"listen":   func(s *Settings) { s.Listen = MaxListen + 1 },
		"ready":    func(s *Settings) { s.Ready = 4 },
		"ready2":   func(s *Settings) { s.Ready = MaxReady + 1 },
		"groups":   func(s *Settings) { s.Credential.Groups = make([]uint32, 65537) },
		"dir":      func(s *Settings) { s.Dir = "a\x00" },
		"path":     func(s *Settings) { s.Path = "a\x00" },
		"argv":     func(s *Settings) { s.Argv[0] = "\x00" },
		"env":      func(s *Settings) { s.Env[0] = "\x00" },
	} {
		s := full()
		change(s)
		b, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Decode(b); !errors.Is(err, ErrSettings) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestDecodeDoesNotAllocateForALie: a list is no longer than what is there to
// fill it.
func TestDecodeDoesNotAllocateForALie(t *testing.T) {
	s := &Settings{Path: "/x", Argv: []string{"x"}}
	b, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(b) - 4 {
		lie := bytes.Clone(b)
		copy(lie[i:], "\xff\xff\x7f\x00")
		allocated := testing.AllocsPerRun(1, func() {
			if _, err := Decode(lie); err != nil && !errors.Is(err, ErrSettings) {
				t.Error(err)
			}
		})
		if allocated > 50 {
			t.Errorf("at %d: %v allocations", i, allocated)
		}
	}
}

func FuzzDecode(f *testing.F) {
	b, err := full().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Decode(b)
		if err != nil {
			return
		}
		// What was read is what is written.
		again, err := s.Encode()
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%q\nbecame %q, %v", b, again, err)
		}
	})
}

func TestStatus(t *testing.T) {
	f := Failure{Step: StepRlimit, Errno: syscall.EPERM, Detail: 7}
	failed := appendFailure(nil, f)
	for _, c := range []struct {
		b       string
		reached bool
		failure bool
		ok      bool
	}{
		{"", false, false, true},
		{"E", true, false, true},
		{string(failed), false, true, true},
		{"E" + string(failed), true, true, true},
		{"x", false, false, false},
		{"EE", true, false, false},
		{string(failed[:5]), false, false, false},
		{string(failed) + "x", false, false, false},
		{"F\x00" + string(failed[2:]), false, false, false},
		{"F\x63" + string(failed[2:]), false, false, false},
		{"F\x01\x00\x00\x00\x00\x00\x00\x00\x00", false, false, false},
	} {
		reached, got, ok := ParseStatus([]byte(c.b))
		if reached != c.reached || (got != nil) != c.failure || ok != c.ok {
			t.Errorf("%q: %v, %v, %v", c.b, reached, got, ok)
		}
		if got != nil && *got != f {
			t.Errorf("%q: %+v", c.b, *got)
		}
	}
	if len(failed) != failedSize {
		t.Errorf("a failure has %d bytes", len(failed))
	}
}

func FuzzParseStatus(f *testing.F) {
	f.Add([]byte("E"))
	f.Add(appendFailure(nil, Failure{Step: StepExec, Errno: 2}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, failure, ok := ParseStatus(b); failure != nil && !ok {
			t.Error("a failure that is none")
		}
	})
}
