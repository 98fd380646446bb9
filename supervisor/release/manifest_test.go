package release

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

func sample() manifest {
	return manifest{
		{path: ".", kind: 'd', mode: 0o555},
		{path: "bin", kind: 'd', mode: 0o550, owned: true, uid: 0, gid: 33},
		{path: "bin/web", kind: 'f', mode: 0o555, size: 3, sum: sum("abc")},
		{path: "bin-x", kind: 'f', mode: 0o444, size: 0, sum: sum("")},
		{path: "l \"\n\xff", kind: 'l', target: "a b"},
	}
}

func TestManifest(t *testing.T) {
	m := sample()
	text := m.encode()
	got, err := decode(text)
	if err != nil || !slices.Equal(got, m) {
		t.Fatalf("%+v %v", got, err)
	}
	if d := difference(m, got); d != "" {
		t.Error(d)
	}
	line := func(i int, with string) string {
		l := strings.SplitAfter(string(text), "\n")
		l[i] = with
		return strings.Join(l, "")
	}
	for name, bad := range map[string]string{
		"empty":       "",
		"heading":     "nines-release 2\n",
		"nothing":     heading,
		"cut off":     string(text[:len(text)-1]),
		"no root":     line(1, ""),
		"no folder":   line(2, ""),
		"twice":       line(4, strings.SplitAfter(string(text), "\n")[3]),
		"order":       line(3, "f 0444 - 0 "+sum("")+" \"zz\"\n"),
		"outside":     line(4, "f 0444 - 0 "+sum("")+" \"../x\"\n"),
		"absolute":    line(4, "f 0444 - 0 "+sum("")+" \"/x\"\n"),
		"mode":        line(4, "f 0755 - 0 "+sum("")+" \"bin-x\"\n"),
		"short mode":  line(4, "f 444 - 0 "+sum("")+" \"bin-x\"\n"),
		"owner":       line(4, "f 0444 0:-1 0 "+sum("")+" \"bin-x\"\n"),
		"signed":      line(4, "f 0444 - +0 "+sum("")+" \"bin-x\"\n"),
		"negative":    line(4, "f 0444 - -1 "+sum("")+" \"bin-x\"\n"),
		"digest":      line(4, "f 0444 - 0 "+strings.ToUpper(sum(""))+" \"bin-x\"\n"),
		"quoted":      line(4, "f 0444 - 0 "+sum("")+" \"bin\\x2dx\"\n"),
		"unquoted":    line(4, "f 0444 - 0 "+sum("")+" bin-x\n"),
		"kind":        line(4, "s 0444 - 0 "+sum("")+" \"bin-x\"\n"),
		"link":        line(5, "l \"x\"\n"),
		"NUL":         line(5, "l \"x\\x00\" \"y\"\n"),
		"link's root": heading + "l \".\" \"x\"\n",
		"in a file":   string(text) + "f 0444 - 0 " + sum("") + " \"x\"\nf 0444 - 0 " + sum("") + " \"x/y\"\n",
	} {
		if _, err := decode([]byte(bad)); err == nil {
			t.Errorf("%s: taken:\n%s", name, bad)
		}
	}
}

// TestOrder: what is in a folder follows it at once.
func TestOrder(t *testing.T) {
	paths := []string{".", "a", "a/b", "a/b/c", "a-b", "b"}
	for i, a := range paths {
		for j, b := range paths {
			if before(a, b) != (i < j) {
				t.Errorf("before(%s, %s) = %v", a, b, before(a, b))
			}
		}
	}
}

func FuzzManifest(f *testing.F) {
	f.Add(sample().encode())
	f.Add(manifest{{path: ".", kind: 'f', mode: 0o400, owned: true, uid: 5, gid: 6, size: 1, sum: sum("x")}}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decode(b)
		if err != nil {
			return
		}
		if !bytes.Equal(m.encode(), b) {
			t.Errorf("%q was written %q", b, m.encode())
		}
		for _, e := range m[1:] {
			if !valid(e.path) {
				t.Errorf("%q leads out of it", e.path)
			}
		}
		if !validID(m.id()) || difference(m, m) != "" {
			t.Errorf("%q", b)
		}
	})
}
