//go:build !ninesfault

package keeper

// fault is where a test build (tag ninesfault) fails.
func fault(string) error { return nil }
