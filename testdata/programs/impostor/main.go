// Command impostor has the name of one of nines's programs and says that it is
// one. What it does when it is run as that, the folder that it is in says:
//
//	exits    it exits with 3
//	silent   it does nothing, for ever
//	stops    it is the nines-init at $REAL, but one that is sent SIGTERM when it
//	         goes on with what another has begun
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
	"unsafe"
)

func main() {
	name, does := filepath.Base(os.Args[0]), filepath.Base(filepath.Dir(os.Args[0]))
	if len(os.Args) > 1 && (os.Args[1] == "version" || os.Args[1] == "--version") {
		fmt.Println(name, "impostor")
		return
	}
	switch does {
	case "silent":
		time.Sleep(time.Hour)
	case "stops":
		if os.Args[1] == "--resume" {
			// As if it came now, while it is held: to the process, which has but one thread
			// then.
			runtime.LockOSThread()
			set := uint64(1) << (syscall.SIGTERM - 1)
			if _, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, 0, uintptr(unsafe.Pointer(&set)), 0, 8, 0, 0); errno != 0 {
				panic(errno)
			}
			argv := append([]string{"sh", "-c", `kill -TERM $$; exec "$REAL" "$@"`}, os.Args...)
			check(syscall.Exec("/bin/sh", argv, os.Environ()))
		}
		check(syscall.Exec(os.Getenv("REAL"), os.Args, os.Environ()))
	}
	os.Exit(3)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
