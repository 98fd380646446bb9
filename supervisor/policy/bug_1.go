//go:build ninesbug1

package policy

const bug = 1
