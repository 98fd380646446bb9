package logs

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCapture(t *testing.T) {
	r := newRig(t, disk{})
	w, _ := r.pipe("web/0.1:out", r.settings("web/0"))
	want := "one\ntwo\n\nbinary \x00\xff\x80 \r\nlong " + strings.Repeat("x", 200<<10) + "\nlast without newline"
	write(t, w, want)
	check(t, w.Close())
	r.waitEnd("web/0.1:out")
	file := filepath.Join(r.dir, "web", "0.log")
	if got := stripped(t, file); got != want+"\n" {
		t.Errorf("the file holds %d bytes, want %d; begins %.100q", len(got), len(want)+1, got)
	}
	got := texts(r.read(Query{Lines: -1}))
	for i := range got {
		if len(got[i]) > 100 {
			got[i] = got[i][:10] + got[i][maxRingLine:]
		}
	}
	if d := cmp.Diff([]string{"one", "two", "", "binary \x00\ufffd\ufffd \r", "long xxxxx… [188421 more bytes]", "last without newline"}, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"last without newline"}, texts(r.read(Query{Lines: 1, Instances: []string{"web/0"}}))); d != "" {
		t.Error(d)
	}
	if got := r.read(Query{Lines: 5, Services: []string{"other"}}); got != nil {
		t.Error(got)
	}
}

func BenchmarkFlood(b *testing.B) {
	for _, size := range []int{64, 1024} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			r := newRig(b, disk{})
			w, _ := r.pipe("web/0.1:out", r.settings("web/0"))
			line := []byte(strings.Repeat("x", size-1) + "\n")
			b.SetBytes(int64(size))
			for b.Loop() {
				if _, err := w.Write(line); err != nil {
					b.Fatal(err)
				}
			}
			check(b, w.Close())
			r.waitEnd("web/0.1:out")
		})
	}
}
