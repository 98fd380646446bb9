//go:build ninesbug4

package policy

const bug = 4
