//go:build ninesbug31

package policy

const bug = 31
