//go:build v2

package main

const version = 2

// warm fills a cache before the first request, and forgets to make it first: a
// panic that no test of the second version's pages would have met.
func warm() {
	var cache map[string][]byte
	cache["/"] = []byte("ok")
}
