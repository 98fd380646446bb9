//go:build ninesbug19

package policy

const bug = 19
