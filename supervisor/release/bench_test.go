package release

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"

	"nines/supervisor/copytree"
)

// Benchmark200MiB is a binary of 200 MiB beside what anybody would use by hand, on
// one disk in one run. Add is what digest does, the copy that cp makes, and the
// digest of the copy; and it is on disk when it returns, as with cp+sync.
func Benchmark200MiB(b *testing.B) {
	const size = 200 << 20
	dir := b.TempDir()
	path := dir + "/web"
	text := make([]byte, size)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(text) // it never fails
	if err := os.WriteFile(path, text, 0o755); err != nil {
		b.Fatal(err)
	}
	s, err := Open(dir+"/releases", nil)
	if err != nil {
		b.Fatal(err)
	}
	run := func(name string, args ...string) func() error {
		return func() error { return exec.CommandContext(b.Context(), name, args...).Run() }
	}
	var id string
	for _, bench := range []struct {
		name  string
		do    func() error
		clean func() error
	}{
		{"sha256sum", run("sha256sum", path), nil},
		{"digest", func() error { _, _, err := s.Digest(b.Context(), path); return err }, nil},
		{"cp", run("cp", "--reflink=auto", path, dir+"/copy"), func() error { return os.Remove(dir + "/copy") }},
		{"cp+sync", run("sh", "-c", `cp --reflink=auto "$0" "$1" && sync "$1"`, path, dir+"/copy"), func() error { return os.Remove(dir + "/copy") }},
		{"add", func() error { r, err := s.Add(b.Context(), path, "web"); id = r.ID; return err }, func() error { return copytree.Remove(s.dir + "/" + id) }},
		{"add-known", func() error { r, err := s.Add(b.Context(), path, "web"); id = r.ID; return err }, nil},
		{"verify", func() error { _, err := s.Verify(b.Context(), id); return err }, nil},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				if err := bench.do(); err != nil {
					b.Fatal(err)
				}
				if bench.clean != nil {
					b.StopTimer()
					if err := bench.clean(); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
			}
		})
	}
}
