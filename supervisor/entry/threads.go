package entry

import (
	"runtime"
	"sync"
)

// threads is how many are made for later, beside those that the runtime has by
// then: with one processor no more than the loop, one goroutine of the garbage
// collector, the runtime's monitor and the thread that makes threads are ever
// busy at a time.
const threads = 4

// reserve makes threads while there are some to be had: one that the kernel
// refuses later is the end of a Go program. It stops the world: not while
// somebody waits for the command to start.
func reserve() {
	runtime.GOMAXPROCS(1)
	var up, down sync.WaitGroup
	hold := make(chan struct{})
	up.Add(threads)
	down.Add(threads)
	for range threads {
		go func() {
			runtime.LockOSThread() // so that the next one needs another thread
			up.Done()
			<-hold
			runtime.UnlockOSThread() // ending locked would end the thread
			down.Done()
		}()
	}
	up.Wait()
	close(hold)
	down.Wait()
}
