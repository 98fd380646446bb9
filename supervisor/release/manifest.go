package release

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A manifest is text, a line for the format and one for each entry, ordered by path
// so that a folder comes before what is in it:
//
//	nines-release 1
//	d 0555 - "."
//	f 0555 - 1234 <SHA-256> "web"
//	f 0440 0:33 56 <SHA-256> "secret"
//	l "libx.so" "libx.so.1"
//
// The third field is the owner, UID:GID, where he is kept. There is one way to write
// a manifest: what reads one refuses any other.
const heading = "nines-release 1\n"

const (
	// maxEntries bounds what a release may be made of, and so the memory that
	// adding and verifying it takes.
	maxEntries  = 200_000
	maxManifest = 128 << 20
)

// entry is one line.
type entry struct {
	path   string // slash-separated; "." is the root
	kind   byte   // d, f, l
	mode   uint32 // of d and f: permission bits
	owned  bool   // of d and f: uid and gid are kept
	uid    uint32
	gid    uint32
	size   int64  // of f
	sum    string // of f: SHA-256 in hex
	target string // of l
}

func (e *entry) line() string {
	if e.kind == 'l' {
		return "l " + strconv.Quote(e.path) + " " + strconv.Quote(e.target) + "\n"
	}
	owner := "-"
	if e.owned {
		owner = fmt.Sprintf("%d:%d", e.uid, e.gid)
	}
	if e.kind == 'd' {
		return fmt.Sprintf("d %04o %s %q\n", e.mode, owner, e.path)
	}
	return fmt.Sprintf("f %04o %s %d %s %q\n", e.mode, owner, e.size, e.sum, e.path)
}

// manifest is all there is in one release, the root first.
type manifest []entry

func (m manifest) encode() []byte {
	var b bytes.Buffer
	b.WriteString(heading)
	for i := range m {
		b.WriteString(m[i].line())
	}
	return b.Bytes()
}

// program says whether it is one file that everybody may execute.
func (m manifest) program() bool { return len(m) == 1 && m[0].kind == 'f' && m[0].mode == 0o555 }

func (m manifest) folder() bool { return m[0].kind == 'd' }

func (m manifest) id() string {
	if m.program() {
		return m[0].sum
	}
	sum := sha256.Sum256(m.encode())
	return hex.EncodeToString(sum[:])
}

func (m manifest) size() (n int64) {
	for i := range m {
		n += m[i].size
	}
	return n
}

// before says whether a's path comes before b's: by parts, so that what is in a
// folder follows it at once.
func before(a, b string) bool {
	if a == "." || b == "." {
		return a == "." && b != "."
	}
	for {
		pa, ra, moreA := strings.Cut(a, "/")
		pb, rb, moreB := strings.Cut(b, "/")
		if pa != pb {
			return pa < pb
		}
		if !moreA || !moreB {
			return !moreA && moreB
		}
		a, b = ra, rb
	}
}

// difference says in words where two differ first, what being in the store.
func difference(want, have manifest) string {
	for i := range want {
		w := &want[i]
		if i >= len(have) || before(w.path, have[i].path) {
			return strconv.Quote(w.path) + " is missing"
		}
		h := &have[i]
		switch {
		case before(h.path, w.path):
			return strconv.Quote(h.path) + " is not of it"
		case h.kind != w.kind:
			return strconv.Quote(w.path) + " is of another kind"
		case h.kind == 'f' && h.size != w.size:
			return fmt.Sprintf("%q has %d bytes instead of %d", w.path, h.size, w.size)
		case h.sum != w.sum || h.target != w.target:
			return strconv.Quote(w.path) + " holds something else"
		case *h != *w:
			return strconv.Quote(w.path) + " has another mode or owner"
		}
	}
	if len(have) > len(want) {
		return strconv.Quote(have[len(want)].path) + " is not of it"
	}
	return ""
}

var errManifest = errors.New("it is no manifest")

// decode reads what encode has written, and nothing else.
func decode(b []byte) (manifest, error) {
	rest, ok := bytes.CutPrefix(b, []byte(heading))
	if !ok {
		return nil, fmt.Errorf("%w of this version", errManifest)
	}
	var m manifest
	folders := map[string]bool{}
	for len(rest) > 0 {
		line, more, ok := bytes.Cut(rest, []byte("\n"))
		if !ok {
			return nil, fmt.Errorf("%w: its last line is cut off", errManifest)
		}
		if len(m) == maxEntries {
			return nil, fmt.Errorf("%w: it has more than %d entries", errManifest, maxEntries)
		}
		e, ok := parse(string(line))
		if !ok || e.line() != string(line)+"\n" || !inOrder(m, &e, folders) {
			return nil, fmt.Errorf("%w: line %d is wrong", errManifest, len(m)+2)
		}
		if e.kind == 'd' {
			folders[e.path] = true
		}
		m, rest = append(m, e), more
	}
	if len(m) == 0 {
		return nil, fmt.Errorf("%w: it is empty", errManifest)
	}
	return m, nil
}

// inOrder says whether e may follow m: after the last, in a folder that is there.
func inOrder(m manifest, e *entry, folders map[string]bool) bool {
	if len(m) == 0 {
		return e.path == "." && e.kind != 'l'
	}
	return valid(e.path) && before(m[len(m)-1].path, e.path) && folders[path.Dir(e.path)]
}

// valid says whether path leads to somewhere in the release. It need not be UTF-8.
func valid(path string) bool {
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part == "." || part == ".." || strings.IndexByte(part, 0) >= 0 {
			return false
		}
	}
	return true
}

// parse reads one line. That it is written as it should be is for the caller.
func parse(line string) (e entry, ok bool) {
	if len(line) < 2 || line[1] != ' ' {
		return e, false
	}
	e.kind = line[0]
	rest := line[2:]
	if e.kind == 'l' {
		q, err := strconv.QuotedPrefix(rest)
		if err != nil || len(q) >= len(rest) {
			return e, false
		}
		return e, unquote(q, &e.path) && unquote(rest[len(q)+1:], &e.target)
	}
	n := 3 // fields
	if e.kind == 'f' {
		n = 5
	} else if e.kind != 'd' {
		return e, false
	}
	f := strings.SplitN(rest, " ", n)
	if len(f) != n || !unquote(f[n-1], &e.path) {
		return e, false
	}
	mode, err := strconv.ParseUint(f[0], 8, 32)
	if err != nil || mode&^0o555 != 0 {
		return e, false
	}
	e.mode = uint32(mode)
	if f[1] != "-" {
		u, g, _ := strings.Cut(f[1], ":")
		uid, err := strconv.ParseUint(u, 10, 32)
		gid, err2 := strconv.ParseUint(g, 10, 32)
		if err != nil || err2 != nil {
			return e, false
		}
		e.owned, e.uid, e.gid = true, uint32(uid), uint32(gid)
	}
	if e.kind == 'd' {
		return e, true
	}
	if e.size, err = strconv.ParseInt(f[2], 10, 64); err != nil || e.size < 0 {
		return e, false
	}
	e.sum = f[3]
	return e, validID(e.sum)
}

func unquote(s string, to *string) bool {
	v, err := strconv.Unquote(s)
	*to = v
	return err == nil
}

func validID(id string) bool {
	if len(id) != sha256.Size*2 {
		return false
	}
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// owners says what the store makes of modes and owners.
type owners struct {
	uid  uint32
	root bool // others' files can be kept as theirs
}

// normal fills in e's mode and owner as the store keeps what a stat shows.
func (o owners) normal(e *entry, st *unix.Stat_t) {
	e.mode = st.Mode & 0o555
	runs := e.mode&0o111 != 0
	if e.mode&0o004 != 0 && (!runs || e.mode&0o001 != 0) {
		e.mode = 0o444
		if runs {
			e.mode = 0o555
		}
		return
	}
	if o.root {
		e.owned, e.uid, e.gid = true, st.Uid, st.Gid
	}
}
