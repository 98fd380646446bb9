//go:build ninesbug2

package policy

const bug = 2
