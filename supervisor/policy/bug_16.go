//go:build ninesbug16

package policy

const bug = 16
