//go:build ninesbug14

package policy

const bug = 14
