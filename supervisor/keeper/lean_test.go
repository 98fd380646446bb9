package keeper

import (
	"strings"
	"testing"
)

func TestReadOnly(t *testing.T) {
	for line, want := range map[string][2]uintptr{
		"00400000-00530000 r-xp 00000000 fe:00 1234                       /usr/bin/nines-init": {0x400000, 0x530000},
		"00530000-00660000 r--p 00130000 fe:00 1234                       /usr/bin/nines-init": {0x530000, 0x660000},
		"00660000-00670000 rw-p 00260000 fe:00 1234                       /usr/bin/nines-init": {},
		"00670000-006a0000 rw-p 00000000 00:00 0 ":                                             {},
		"7ffd0000-7ffd2000 r-xp 00000000 00:00 0                          [vdso]":              {},
		"7ffd0000-7ffd2000 r--s 00000000 fe:00 99                         /shared":             {},
		"x-y r-xp 00000000 fe:00 1234 /usr/bin/nines-init":                                     {},
		"5-4 r-xp 00000000 fe:00 1234 /usr/bin/nines-init":                                     {},
		"Name:": {},
	} {
		from, to := readOnly(strings.Fields(line))
		if [2]uintptr{from, to} != want {
			t.Errorf("%q: %x %x", line, from, to)
		}
	}
}

// What runs goes on, dynamically linked too, as with the race detector.
func TestDropText(t *testing.T) {
	for range 3 {
		if err := dropText(); err != nil {
			t.Error(err)
		}
	}
}
