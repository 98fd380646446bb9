//go:build ninesbug13

package policy

const bug = 13
