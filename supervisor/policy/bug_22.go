//go:build ninesbug22

package policy

const bug = 22
