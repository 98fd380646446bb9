//go:build !ninesfault

package supervisor

// fault is where a test build (tag ninesfault) dies.
func fault(string) {}
