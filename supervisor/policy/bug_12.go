//go:build ninesbug12

package policy

const bug = 12
