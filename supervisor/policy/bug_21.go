//go:build ninesbug21

package policy

const bug = 21
