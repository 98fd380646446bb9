//go:build !v2

package main

const version = 1

// warm is what the second version is to do before it serves.
func warm() {}
