package snapshot

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Benchmark200MiB is data of 200 MiB in 20 files, beside cp -a, on one disk in one
// run. Take is on disk when it returns, as cp+sync is.
func Benchmark200MiB(b *testing.B) {
	const size = 200 << 20
	dir := b.TempDir()
	path := dir + "/data"
	text := make([]byte, size/20)
	r := rand.NewChaCha8([32]byte{1})
	if err := os.Mkdir(path, 0o700); err != nil {
		b.Fatal(err)
	}
	for i := range 20 {
		_, _ = r.Read(text) // it never fails
		if err := os.WriteFile(filepath.Join(path, fmt.Sprint(i)), text, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	s, err := Open(dir+"/snapshots", nil)
	if err != nil {
		b.Fatal(err)
	}
	cp := func(script string) func() error {
		return func() error {
			return exec.CommandContext(b.Context(), "sh", "-c", script, path, dir+"/copy").Run()
		}
	}
	uncopy := func() error { return os.RemoveAll(dir + "/copy") }
	for _, bench := range []struct {
		name      string
		do, clean func() error
	}{
		{"cp", cp(`cp -a --reflink=auto "$0" "$1"`), uncopy},
		{"cp+sync", cp(`cp -a --reflink=auto "$0" "$1" && sync -f "$1"`), uncopy},
		{"take", func() error { _, err := s.Take(b.Context(), request(path)); return err }, func() error { _, err := s.Collect(nil); return err }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				if err := bench.do(); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := bench.clean(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}
