//go:build ninesbug23

package policy

const bug = 23
