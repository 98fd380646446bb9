//go:build ninesbug20

package policy

const bug = 20
