package cgroups

// Read is what a file of the group holds, for people to look at: "memory.stat".
// The error wraps ENOENT where the group, or its controller, has no such file.
func (g *Group) Read(file string) ([]byte, error) {
	b, err := g.read(file, nil)
	if err != nil {
		return nil, &Error{Op: "read " + file + " of", Path: g.Path(), Err: err}
	}
	return b, nil
}
