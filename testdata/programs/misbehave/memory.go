package main

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// take maps so many bytes and touches every page. What is unmapped again the
// kernel has back at once, unlike what Go's runtime frees.
func take(bytes int) []byte {
	b, err := unix.Mmap(-1, 0, max(bytes, 1), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	check(err)
	for i := 0; i < len(b); i += unix.Getpagesize() {
		b[i] = 1
	}
	return b
}

func leak(args []string) {
	step, most := integer(arg(args, 0, "1048576")), integer(arg(args, 1, "268435456"))
	every := arg(args, 2, "10ms")
	say()
	for taken := step; taken <= most; taken += step {
		runtime.KeepAlive(take(step))
		pause(every)
	}
	forever()
}

func sawtooth(args []string) {
	low, high := integer(arg(args, 0, "0")), integer(arg(args, 1, "16777216"))
	period, err := time.ParseDuration(arg(args, 2, "1s"))
	check(err)
	const steps = 20
	runtime.KeepAlive(take(low))
	say()
	for {
		var tooth [][]byte
		for range steps {
			tooth = append(tooth, take((high-low)/steps))
			time.Sleep(period / steps)
		}
		for _, b := range tooth {
			check(unix.Munmap(b))
		}
	}
}

// bloat takes bytes after a time, beside whatever else is done.
func bloat(args []string) {
	if len(args) < 2 {
		return
	}
	go func() {
		pause(args[1])
		runtime.KeepAlive(take(integer(args[0])))
	}()
}
