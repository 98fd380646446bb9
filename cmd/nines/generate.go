//go:build generate

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"nines/cmd/man"
)

// With the tag generate, this package is no command line but what writes man
// pages and completion scripts from it, into the folder that is its argument,
// laid out as PREFIX/share is.
func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: generate FOLDER")
		os.Exit(2)
	}
	if err := generate(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "cannot write man pages and completions:", err)
		os.Exit(1)
	}
}

func generate(dir string) error {
	root := newRootCmd(&app{in: os.Stdin, out: io.Discard, err: os.Stderr, getenv: func(string) string { return "" }})
	if err := man.Write(filepath.Join(dir, "man"), root); err != nil {
		return err
	}
	for shell, path := range map[string]string{
		"bash": "bash-completion/completions/nines",
		"zsh":  "zsh/site-functions/_nines",
		"fish": "fish/vendor_completions.d/nines.fish",
	} {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		if err := writeCompletion(root, shell, f); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}
