package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"nines/ipc"
	"nines/spec"
	"nines/spec/diff"
	"nines/spec/load"
)

// loaded is a specification as it would run here.
type loaded struct {
	spec    *spec.Spec
	diags   load.Diagnostics
	digests map[string]string
}

// loadFiles validates files, also whether what they require of limits can be
// had here. An error is fit for the caller.
func (c *changer) loadFiles(files []load.File) (*loaded, error) {
	sp, diags := load.LoadFiles(files, load.Options{})
	if !diags.HasErrors() {
		diags = append(diags, c.enforce.required(sp)...)
	}
	if diags.HasErrors() {
		var b strings.Builder
		if err := diags.Write(&b, false); err != nil {
			return nil, err
		}
		n := 0
		for i := range diags {
			if diags[i].Severity == load.SeverityError {
				n++
			}
		}
		return nil, &ipc.Error{
			Code: ipc.CodeFailed, Message: fmt.Sprintf("the spec has %s; nothing was changed", count(n, "error")),
			Hint: "correct what is shown above", Detail: b.String(),
		}
	}
	return &loaded{sp, diags, digestsOf(sp)}, nil
}

// digestsOf is what the services' processes would run with. Where an env_file
// differs from instance to instance, that of the first stands for all.
func digestsOf(sp *spec.Spec) map[string]string {
	d := make(map[string]string, len(sp.Services))
	host, hostErr := load.ThisHost()
	for _, s := range sp.Services {
		held := ""
		if s.Process.EnvFile != "" {
			sc := &load.Scope{Service: s.Name, Env: os.LookupEnv, Host: host}
			path, err := load.String(s.Process.EnvFile, sc)
			if err == nil && hostErr == nil {
				held = heldDigest(strings.TrimPrefix(path, "-"))
			}
			// Else its start will say what is wrong with it.
		}
		d[s.Name] = diff.Digest(s, held)
	}
	return d
}

// heldDigest is of what an env_file says, not of its layout.
func heldDigest(path string) string {
	env, err := load.EnvFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "none"
	case err != nil:
		return "unreadable"
	}
	h := sha256.New()
	for _, k := range slices.Sorted(maps.Keys(env)) {
		h.Write(fmt.Appendf(nil, "%d %d %s%s", len(k), len(env[k]), k, env[k]))
	}
	return hex.EncodeToString(h.Sum(nil))
}

func specFiles(files []ipc.SpecFile) []load.File {
	list := make([]load.File, len(files))
	for i, f := range files {
		list[i] = load.File(f)
	}
	return list
}

// warningsOf is what people should know of a specification that is right: what
// is odd in it, and limits that cannot be enforced here.
func (c *changer) warningsOf(sp *spec.Spec, diags load.Diagnostics) []string {
	list := make([]string, 0, len(diags))
	for i := range diags {
		d := &diags[i]
		list = append(list, fmt.Sprintf("%s:%d: %s", d.File, d.Line, d.Summary))
	}
	return append(list, c.enforce.warnings(sp)...)
}
