package cmd_test

import (
	"errors"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"nines/supervisor/proc/shim"
)

// TestShimUnheard: the supervisor may die while nines-exec sets a service up. That
// nobody hears it then ends nothing: signals have their default dispositions by
// then, SIGPIPE too.
func TestShimUnheard(t *testing.T) {
	bin := binaries(t)
	for path, want := range map[string]int{"/bin/sh": 7, "/nowhere/sh": 127} {
		set := shim.Settings{Path: path, Argv: []string{"sh", "-c", "exit 7"}}
		b, err := set.Encode()
		if err != nil {
			t.Fatal(err)
		}
		memfd, err := unix.MemfdCreate("settings", unix.MFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		settings := os.NewFile(uintptr(memfd), "settings")
		defer settings.Close()
		if _, err := settings.Write(b); err != nil {
			t.Fatal(err)
		}
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		status := os.NewFile(uintptr(pair[1]), "status")
		defer status.Close()
		if err := unix.Close(pair[0]); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(bin + "/nines-exec")
		cmd.ExtraFiles = []*os.File{settings, status} // shim.SettingsFD, shim.StatusFD
		var exit *exec.ExitError
		if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != want {
			t.Errorf("%s: %v, want exit status %d", path, err, want)
		}
	}
}
