//go:build !amd64

package main

import "errors"

func orphans([]string) error {
	return errors.New("cannot leave orphans: that is written for amd64 alone")
}
