//go:build ninesbug9

package policy

const bug = 9
