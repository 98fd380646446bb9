//go:build ninesbug18

package policy

const bug = 18
