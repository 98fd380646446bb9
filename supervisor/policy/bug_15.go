//go:build ninesbug15

package policy

const bug = 15
