//go:build ninesbug32

package policy

const bug = 32
