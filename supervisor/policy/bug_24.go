//go:build ninesbug24

package policy

const bug = 24
