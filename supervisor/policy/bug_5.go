//go:build ninesbug5

package policy

const bug = 5
