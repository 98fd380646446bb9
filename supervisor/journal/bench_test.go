package journal

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// BenchmarkAppend is what an event costs the loop while the writer is at work.
func BenchmarkAppend(b *testing.B) {
	j := Open(Config{Dir: b.TempDir()})
	e := Entry{Time: time.Now(), Kind: "exited", Service: "web", Instance: "web/0", PID: 7, Text: "killed by SIGKILL"}
	b.ReportAllocs()
	for b.Loop() {
		j.Append(e)
	}
	b.StopTimer()
	kill(j)
}

// BenchmarkFull opens and reads a file that is as full as it gets.
func BenchmarkFull(b *testing.B) {
	dir := b.TempDir()
	j := Open(Config{Dir: dir})
	for i := range 110_000 {
		j.Append(Entry{Time: time.Now(), Kind: "exited", Service: "web", Instance: "web/0", PID: 7, Text: "killed by SIGKILL; started again after 100ms (retry 1)"})
		if i%2000 == 0 {
			done := make(chan error, 1)
			j.Write(nil, func(err error) { done <- err })
			if err := <-done; err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := j.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
	fi, err := os.Stat(filepath.Join(dir, fileName))
	if err != nil {
		b.Fatal(err)
	}
	size := float64(fi.Size()) / (1 << 20)
	b.Run("Open", func(b *testing.B) {
		for b.Loop() {
			kill(Open(Config{Dir: dir}))
		}
		b.ReportMetric(size, "file-MiB")
	})
	b.Run("Read", func(b *testing.B) {
		j := Open(Config{Dir: dir})
		defer kill(j)
		for b.Loop() {
			n := 0
			if err := j.ReadBatches(b.Context(), Query{}, func(batch []Entry) error { n += len(batch); return nil }); err != nil || n < 99_000 {
				b.Fatal(n, err)
			}
		}
	})
	b.Run("SinceNow", func(b *testing.B) {
		j := Open(Config{Dir: dir})
		defer kill(j)
		for b.Loop() {
			if err := j.ReadBatches(b.Context(), Query{Since: time.Now()}, func([]Entry) error { return nil }); err != nil {
				b.Fatal(err)
			}
		}
	})
}
