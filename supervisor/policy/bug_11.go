//go:build ninesbug11

package policy

const bug = 11
