//go:build ninesbug17

package policy

const bug = 17
