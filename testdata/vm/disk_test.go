package vm

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A machine that boots from an ext4 disk by testdata/boot.hcl, as a real one
// does, is powered off, and has left its disks clean; then it boots again, finds
// what was written, and mends a filesystem that was cut off. A person logs in.
func TestMachineBootsFromDisk(t *testing.T) {
	t.Parallel()
	root, home := rootDisk(t), NewDisk(t, 32, "")
	m := Machine{Init: Direct, Disks: []Disk{root, home}, Modules: []string{"virtio_blk"}, Cmdline: "ro",
		Files: map[string]string{"/init": `#!/bin/busybox sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
guest modules
mount -t devtmpfs dev /dev
mount -t ext4 -o ro /dev/vda /mnt || exec sh
umount /proc
mount --move /dev /mnt/dev
exec switch_root /mnt /sbin/nines-init "$@"
`}}
	check := func(r Result, kept string) {
		t.Helper()
		if r.Exit != 0 || r.End != PowerOff {
			r.Fatal(t, "exit status %d, the machine's end: %s", r.Exit, r.End)
		}
		if got := string(r.Files["kept"]); got != kept {
			r.Fatal(t, "/home/kept held %q, want %q", got, kept)
		}
		for _, d := range []Disk{root, home} {
			if !clean(t, d) {
				r.Fatal(t, "%s is not clean", d.Path)
			}
		}
		if log := string(r.Files["messages"]); !strings.Contains(log, "hello from logger") || !strings.Contains(log, "kernel:") {
			r.Fatal(t, "/var/log/messages: %s", log)
		}
	}
	v := Start(t, m)
	v.Expect("READY")
	// A person at the console: the login prompt, a name, a shell with job control.
	v.ExpectConsole("beacon login:")
	v.Type("root\n")
	v.ExpectConsole("/root #")
	v.Type("echo person=$USER@$(hostname) && sleep 300\n")
	v.ExpectConsole("person=root@beacon")
	v.Type("\x03") // ^C ends sleep, not the shell
	v.Type("echo interrupted=$?; exit\n")
	v.ExpectConsole("interrupted=130")
	v.Send("go\n")
	check(v.Wait(), "none\nfirst\n")
	// The power goes while it writes: the next boot replays the journal.
	v = Start(t, m)
	v.Expect("READY")
	v.Cut()
	if r := v.Wait(); r.End != Cut {
		r.Fatal(t, "the machine's end: %s", r.End)
	}
	v = Start(t, m)
	v.Expect("READY")
	v.Send("go\n")
	check(v.Wait(), "first\nagain\n")
}

const bootScript = `. /etc/vm/lib.sh
await 60 nines ready modules coldplug mdev fsck root-rw mounts swap sysctl tmp network syslog klog getty
nines status
logger hello from logger
awk '$2 == "/" || $2 == "/home"' /proc/mounts
[ -e /home/kept ] || echo none >/home/kept
if grep -q first /home/kept; then grep -q again /home/kept || echo again >>/home/kept; sed -i /none/d /home/kept; else echo first >>/home/kept; fi
await 20 grep -q 'hello from logger' /var/log/messages
await 20 grep -q 'kernel:' /var/log/messages
cp /home/kept /var/log/messages /out/
sync
echo READY
read line
`

// rootDisk is an ext4 root filesystem of busybox, e2fsck and ours.
func rootDisk(t *testing.T) Disk {
	t.Helper()
	k := Need(t)
	dir := filepath.Join(t.TempDir(), "root")
	write := func(name, body string, perm os.FileMode) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(body), perm); err != nil {
			t.Fatal(err)
		}
	}
	read := func(name string) string {
		t.Helper()
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, name := range []string{"proc", "sys", "dev", "run", "tmp", "out", "home", "root", "var/log", "var/lib", "mnt"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	programs, err := built()
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range programs {
		write("sbin/"+name, string(body), 0o755)
	}
	write("bin/busybox", read(k.Busybox), 0o755)
	applets, err := command("", k.Busybox, "--list")
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.FieldsSeq(applets) {
		if name != "busybox" {
			if err := os.Symlink("busybox", filepath.Join(dir, "bin", name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	e2fsck := "/sbin/e2fsck"
	libraries, err := command("", "ldd", e2fsck)
	if err != nil {
		t.Fatal(err)
	}
	write(e2fsck, read(e2fsck), 0o755)
	for word := range strings.FieldsSeq(libraries) {
		if strings.HasPrefix(word, "/") {
			write(word, read(word), 0o755)
		}
	}
	write("etc/hostname", "beacon\n", 0o644)
	write("etc/passwd", "root::0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n", 0o644)
	write("etc/group", "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n", 0o644)
	write("etc/fstab", "/dev/vda / ext4 ro 0 1\n/dev/vdb /home ext4 defaults 0 2\n", 0o644)
	write("etc/sysctl.conf", "kernel.panic = 10\n", 0o644)
	write("etc/nines/boot.hcl", read("../boot.hcl"), 0o644)
	// The host's port has no name until mdev runs, and /out is to be written to.
	write("etc/nines/driver.hcl", strings.Replace(strings.Replace(driverSpec, "/usr/bin/guest", "/sbin/guest", 1), "inherit_env", "needs = [\"mounts\"]\n  inherit_env", 1), 0o644)
	write("etc/vm/script", bootScript, 0o644)
	write("etc/vm/lib.sh", guestLibrary, 0o644)
	write("etc/vm/then", "nines shutdown --poweroff", 0o644)
	write("etc/vm/env", "", 0o644)
	d := Disk{Path: filepath.Join(t.TempDir(), "root.img")}
	if err := os.WriteFile(d.Path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(d.Path, 128<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("/sbin/mkfs.ext4", "-q", "-E", "root_owner=0:0", "-d", dir, d.Path).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4: %v: %s", err, out)
	}
	return d
}
