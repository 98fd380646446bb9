//go:build ninesbug10

package policy

const bug = 10
