//go:build ninesbug7

package policy

const bug = 7
