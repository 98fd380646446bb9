package keeper

import "testing"

func TestOwnText(t *testing.T) {
	for line, want := range map[string][2]uintptr{
		"00400000-00530000 r-xp 00000000 fe:00 1234                       /usr/bin/nines-init\n": {0x400000, 0x530000},
		"00530000-00660000 r--p 00130000 fe:00 1234                       /usr/bin/nines-init\n": {0x530000, 0x660000},
		"00660000-00670000 rw-p 00260000 fe:00 1234                       /usr/bin/nines-init\n": {},
		"00670000-006a0000 rw-p 00000000 00:00 0 \n":                                             {},
		"7ffd0000-7ffd2000 r-xp 00000000 00:00 0                          [vdso]\n":              {},
		"7ffd0000-7ffd2000 r--s 00000000 fe:00 99                         /shared\n":             {},
		"x-y r-xp 00000000 fe:00 1234 /usr/bin/nines-init\n":                                     {},
		"": {},
	} {
		from, to, ok := ownText(line)
		if ok != (want != [2]uintptr{}) || ok && [2]uintptr{from, to} != want {
			t.Errorf("%q: %x %x %v", line, from, to, ok)
		}
	}
	// What runs goes on.
	if err := dropText(); err != nil {
		t.Error(err)
	}
}
