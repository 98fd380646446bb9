package entry

import (
	"runtime"

	"nines/supervisor/threads"
)

// spareThreads is how many are made for later, beside those that the runtime has by
// then: with one processor no more than the loop, one goroutine of the garbage
// collector, the runtime's monitor and the thread that makes threads are ever
// busy at a time.
const spareThreads = 4

// reserve makes threads. It stops the world: not while somebody waits for the command
// to start.
func reserve() {
	runtime.GOMAXPROCS(1)
	threads.Reserve(spareThreads)
}
