// Command vmexec is for "go test -exec": it runs a test binary in a virtual
// machine, as root with every cgroup v2 controller.
//
//	go build -o bin/ ./testdata/vm/vmexec
//	CGO_ENABLED=0 go test -count=1 -exec "$PWD/bin/vmexec" ./cgroups
//
// Without cgo: the guest has no C library. It exits as the binary does, with 125
// where the machine fails.
package main

import (
	"fmt"
	"os"

	"nines/testdata/vm"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: vmexec BINARY [ARGUMENT]…")
		os.Exit(2)
	}
	status, err := vm.Exec(os.Args[1], os.Args[2:], os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "vmexec:", err)
		os.Exit(125)
	}
	os.Exit(status)
}
