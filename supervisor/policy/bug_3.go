//go:build ninesbug3

package policy

const bug = 3
