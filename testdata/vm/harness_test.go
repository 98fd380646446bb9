package vm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOutcomes: what the harness says of a machine is what became of it. The
// power button reaches the guest, whose modules came in the right order, and
// Ctrl-Alt-Del does.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	t.Run("fails", func(t *testing.T) {
		t.Parallel()
		r := Start(t, Machine{Init: ScriptOnly, Script: "echo out; mkdir /out/a; echo kept >/out/a/b; exit 7"}).Wait()
		if r.Exit != 7 || r.End != PowerOff || r.Output != "out\r\n" && r.Output != "out\n" || string(r.Files["a/b"]) != "kept\n" {
			r.Fatal(t, "exit %d, end %s, files %q", r.Exit, r.End, r.Files)
		}
	})
	t.Run("reboots", func(t *testing.T) {
		t.Parallel()
		m := Start(t, Machine{Init: ScriptOnly, Modules: []string{"button", "evdev"}, Script: `
button=$(grep -l 'Power Button' /sys/class/input/event*/device/name | cut -d/ -f5)
exec 3<"/dev/input/$button" # what came before it was open is lost
echo OPEN
head -c 24 <&3 >/out/event
echo PRESSED
read forever`})
		m.Expect("OPEN")
		m.PowerButton()
		m.Expect("PRESSED")
		m.CtrlAltDel() // nobody took it from the kernel: it resets the machine
		if r := m.Wait(); r.End != Reboot || r.Exit != -1 {
			r.Fatal(t, "exit %d, end %s, want a reboot", r.Exit, r.End)
		}
	})
	// The watchdog counts in virtual time: 30 s are over at once.
	t.Run("watchdog", func(t *testing.T) {
		t.Parallel()
		r := Start(t, Machine{Init: ScriptOnly, VirtualTime: true, Modules: []string{"i6300esb"}, QEMU: []string{"-device", "i6300esb", "-action", "watchdog=poweroff"},
			Script: "exec 3>/dev/watchdog0; sleep 1000; fail 'nothing ended the machine'"}).Wait()
		if r.End != Watchdog || r.Exit != -1 {
			r.Fatal(t, "exit %d, end %s, want the watchdog's", r.Exit, r.End)
		}
	})
	t.Run("panics", func(t *testing.T) {
		t.Parallel()
		r := Start(t, Machine{Args: []string{"--machine", "no", "--no-such"}}).Wait()
		if r.End != Panic || !strings.Contains(r.Console, "exitcode=0x00000200") || !strings.Contains(r.Console, "there is no such flag") {
			r.Fatal(t, "end %s, want a panic: PID 1 exited with 2", r.End)
		}
	})
	t.Run("hangs", func(t *testing.T) {
		t.Parallel()
		r := Start(t, Machine{Init: ScriptOnly, Timeout: 1, Script: "sleep 1000"}).Wait()
		if r.End != TimedOut || r.Exit != -1 {
			r.Fatal(t, "exit %d, end %s, want a timeout", r.Exit, r.End)
		}
	})
	t.Run("wrong", func(t *testing.T) {
		t.Parallel()
		r := Start(t, Machine{QEMU: []string{"--no-such"}}).Wait()
		if r.End != Failed || !strings.Contains(r.Console, "no-such") {
			r.Fatal(t, "end %s, want what QEMU said", r.End)
		}
	})
}

// TestFetch: an unusable cache is an error that says what to do.
func TestFetch(t *testing.T) {
	k := Need(t)
	if _, err := k.Modules("no_such"); err == nil || !strings.HasPrefix(err.Error(), "cannot find kernel module no_such") {
		t.Errorf("unknown module: %v", err)
	}
	// Built in: nothing to load. By another spelling: found.
	if got, err := k.Modules("ext4", "virtio-blk", "i6300esb"); err != nil || len(got) != 3 || got[1].Name != "watchdog" {
		t.Errorf("modules: %d, %v", len(got), err)
	}
	cache := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(cache, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("NINES_VM_CACHE", cache)
	if _, err := Fetch(); err == nil || !strings.HasPrefix(err.Error(), "cannot get a kernel for the virtual machine: ") {
		t.Errorf("a file for a cache: %v", err)
	}
}
