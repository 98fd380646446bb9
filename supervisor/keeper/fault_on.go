//go:build ninesfault

package keeper

import "os"

// fault fails if NINES_FAULT names the point; "panic-" before it: by a panic.
func fault(point string) error {
	switch os.Getenv("NINES_FAULT") {
	case point:
		return refusal("as a test has it")
	case "panic-" + point:
		panic(point)
	}
	return nil
}
