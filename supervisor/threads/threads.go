// Package threads makes a process's threads while there are some to be had: one that
// the kernel refuses later, because services took all there were, is the end of a Go
// program, and of a machine whose init that is.
package threads

import (
	"runtime"
	"sync"
)

// Reserve makes n threads beside those that are busy, which are idle when it returns
// and stay: Go's runtime takes an idle one before it makes another. One that is
// refused here ends the program as well, at its start.
func Reserve(n int) {
	var up, down sync.WaitGroup
	hold := make(chan struct{})
	up.Add(n)
	for range n {
		down.Go(func() {
			runtime.LockOSThread() // so that the next one needs another thread
			defer runtime.UnlockOSThread()
			up.Done()
			<-hold
		})
	}
	up.Wait()
	close(hold)
	down.Wait()
}
