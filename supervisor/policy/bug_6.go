//go:build ninesbug6

package policy

const bug = 6
