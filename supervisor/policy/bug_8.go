//go:build ninesbug8

package policy

const bug = 8
