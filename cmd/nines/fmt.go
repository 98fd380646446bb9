package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"nines/spec/load"
)

func newFmtCmd(a *app) *cobra.Command {
	var inPlace bool
	cmd := &cobra.Command{
		Use:   "fmt [-w] [PATH…]",
		Short: "Bring spec files into the canonical layout",
		Long: `Bring spec files (or folders of *.hcl; default ` + defaultSpecs + `) into the canonical
layout. Comments and the order of things stay; whether the spec makes sense is
for "nines check".

Without -w the files that differ are listed, nothing is written, and the exit
status is 1 if there are any. With -w they are rewritten, each whole or not at
all, and listed. "-" formats stdin to stdout.`,
		Example: `  nines fmt
  nines fmt -w nines.hcl`,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 && args[0] == "-" {
				return a.fmtStdin()
			}
			if len(args) == 0 {
				if err := needDefaultSpecs("fmt"); err != nil {
					return err
				}
				args = []string{defaultSpecs}
			}
			return a.fmtFiles(args, inPlace)
		},
	}
	cmd.Flags().BoolVarP(&inPlace, "write", "w", false, "rewrite the files that differ")
	return cmd
}

// fmtStdinMax bounds what is read from stdin; Format refuses less.
const fmtStdinMax = 64 << 20

func (a *app) fmtStdin() error {
	b, err := io.ReadAll(io.LimitReader(a.in, fmtStdinMax))
	if err != nil {
		return &failure{code: exitFailed, what: "cannot read stdin", why: err.Error(), err: err}
	}
	text, diags := load.Format(load.File{Name: "stdin", Text: string(b)})
	if err := a.syntax(diags); err != nil {
		return err
	}
	return a.write([]byte(text))
}

// syntax shows what is wrong with a text that cannot be formatted.
func (a *app) syntax(diags load.Diagnostics) error {
	if !diags.HasErrors() {
		return nil
	}
	if err := diags.Write(a.err, a.errColor); err != nil {
		return &failure{code: exitFailed, what: "cannot write the diagnostics", why: err.Error(), err: err}
	}
	return silent(exitFailed)
}

func (a *app) fmtFiles(paths []string, inPlace bool) error {
	files, diags := load.Read(paths)
	if err := a.syntax(diags); err != nil {
		return err
	}
	var failed error
	differ := false
	for _, f := range files {
		text, diags := load.Format(f)
		if err := a.syntax(diags); err != nil {
			failed = err // the others are formatted all the same
			continue
		}
		if text == f.Text {
			continue
		}
		differ = true
		if inPlace {
			if err := rewrite(f.Name, text); err != nil {
				a.complain("cannot rewrite %s: %v: it is as it was", f.Name, err)
				failed = silent(exitFailed)
				continue
			}
		}
		if err := a.write([]byte(printable(f.Name) + "\n")); err != nil {
			return err
		}
	}
	if failed == nil && differ && !inPlace {
		return silent(exitFailed)
	}
	return failed
}

// rewrite replaces what a file holds, whole or not at all, and keeps its mode and
// owner. Where the name is a symbolic link, the file that it points to is replaced.
func rewrite(path, text string) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	fi, err := os.Stat(path)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".nines-fmt-*")
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err == nil {
		err = keepOwner(f, fi)
	}
	if err == nil {
		err = f.Chmod(fi.Mode().Perm())
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// keepOwner gives f the owner that the file it replaces has.
func keepOwner(f *os.File, was os.FileInfo) error {
	st, ok := was.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New("its owner cannot be read")
	}
	now, err := f.Stat()
	if err != nil {
		return err
	}
	if mine, ok := now.Sys().(*syscall.Stat_t); ok && mine.Uid == st.Uid && mine.Gid == st.Gid {
		return nil
	}
	return f.Chown(int(st.Uid), int(st.Gid))
}
