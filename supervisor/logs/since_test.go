package logs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestSeekTimeProperty: nothing that is new enough is before the place found,
// and not much that is too old is behind it.
func TestSeekTimeProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		base := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
		key := sinkKey{"web", "web/0", Out}
		var b []byte
		var starts []int
		var stamps []time.Time
		now := base
		for range rapid.IntRange(0, 400).Draw(rt, "lines") {
			now = now.Add(time.Duration(rapid.IntRange(0, 2).Draw(rt, "pause")) * time.Second)
			starts, stamps = append(starts, len(b)), append(stamps, now)
			text := strings.Repeat("x", rapid.SampledFrom([]int{0, 30, 500, 9000, 20000}).Draw(rt, "length"))
			switch rapid.IntRange(0, 9).Draw(rt, "kind") {
			case 0, 1, 2:
				b = appendObject(b, &key, now, []byte(text), false)
			case 3:
				b = append(b, "no stamp "+text+"\n"...)
			default:
				b = append(now.AppendFormat(b, stampLayout), " "+text+"\n"...)
			}
		}
		since := base.Add(time.Duration(rapid.IntRange(-5, 900).Draw(rt, "since")) * time.Second)
		at, err := seekTime(bytes.NewReader(b), int64(len(b)), since)
		check(t, err)
		if at > 0 && b[at-1] != '\n' {
			rt.Fatalf("%d is within a line", at)
		}
		for i, start := range starts {
			if int64(start) < at && !stamps[i].Before(since) {
				rt.Fatalf("line %d of %v is before the place found for %v", i, stamps[i], since)
			}
		}
	})
}

// TestSinceReadsLittle: in a large file, only what is asked for is read.
func TestSinceReadsLittle(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "big.log")
	base := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	var b []byte
	for i := range 100_000 {
		b = append(base.Add(time.Duration(i)*time.Second).AppendFormat(b, stampLayout), fmt.Sprintf(" %0200d\n", i)...)
	}
	check(t, os.WriteFile(path, b, 0o600))
	f, err := os.Open(path)
	check(t, err)
	defer f.Close()
	c := &counting{f: f}
	at, err := seekTime(c, int64(len(b)), base.Add(99_990*time.Second))
	check(t, err)
	if int64(len(b))-at > seekNear+seekBlock || c.bytes > 1<<20 {
		t.Errorf("%d bytes behind the place found, %d read for it, of %d", int64(len(b))-at, c.bytes, len(b))
	}
}

type counting struct {
	f     *os.File
	bytes int
}

func (c *counting) ReadAt(b []byte, off int64) (int, error) {
	n, err := c.f.ReadAt(b, off)
	c.bytes += n
	return n, err
}

// FuzzHistory: whatever a log file holds, it is read to its end.
func FuzzHistory(f *testing.F) {
	f.Add([]byte("2026-11-22T10:00:00.000000Z one\n2026-11-22T10:00:01.000000Z two\n"), int64(0), 5)
	f.Add([]byte(`{"time":"2026-11-22T10:00:00.000000Z","service":"web","instance":"web/0","stream":"out","message":"x","partial":true}`+"\n"), int64(1e18), -1)
	f.Add([]byte(`{"time":"2026-11-22T10:00:00.000000Z"`), int64(1), -1)
	f.Add([]byte("\n\n\x00\n no stamp"), int64(-1), 2)
	f.Fuzz(func(t *testing.T, b []byte, since int64, lines int) {
		dir := t.TempDir()
		path := filepath.Join(dir, "0.log")
		check(t, os.WriteFile(path, b, 0o600))
		check(t, os.WriteFile(path+".1.gz", packedBytes(t, b), 0o600))
		h := &hub{fs: disk{}, files: make(chan struct{}, queryFiles)}
		var when time.Time
		if since != 0 {
			when = time.Unix(0, since)
		}
		y := &history{hub: h, path: path, end: place{off: int64(len(b)), valid: true}}
		check(t, y.seek(lines, when))
		count := 0
		for {
			_, ok, err := y.next()
			check(t, err)
			if !ok {
				break
			}
			if count++; count > 2*(len(b)+1) {
				t.Fatal("more lines than bytes")
			}
		}
		if lines >= 0 && count > lines {
			t.Fatalf("%d lines, asked for %d", count, lines)
		}
		y.close()
		if len(h.files) != 0 {
			t.Fatal("a file is left open")
		}
	})
}
