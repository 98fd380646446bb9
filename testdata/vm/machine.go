package vm

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Init says what PID 1 is.
type Init int

const (
	// Mounted: a helper of ours mounts /proc, /sys, /dev, /run, /tmp and cgroup2,
	// loads the modules, mounts the disks, and then execs nines-init.
	Mounted Init = iota
	// Direct: nines-init is what the kernel starts, on a machine where nothing is
	// mounted. Its spec loads modules, if it wants any, with "guest modules".
	Direct
	// ScriptOnly: no nines at all. The helper stays, runs the script and reaps.
	ScriptOnly
)

// Machine is one to be started; its zero value has one CPU, 512 MiB, and
// nines-init with a spec of nothing but the driver.
type Machine struct {
	CPUs   int // 1
	Memory int // in MiB; 512
	Init   Init

	// Spec becomes /etc/nines/nines.hcl. Beside it is one that defines the task
	// "driver", which runs Script.
	Spec string
	// Script is run by busybox's sh -eu, with the functions of guest/lib.sh. Its
	// standard input and output, and standard error, are the host's Send and
	// Output. What it leaves in /out comes back in Result.Files. Empty: no driver.
	Script string
	// Then is a command line for sh, run once the script's exit status has reached
	// the host, as "nines shutdown --reboot". Empty: the machine is powered off at
	// once, without nines being asked.
	Then string
	// Env is set for nines-init where Init is Mounted, and for the script where it
	// is ScriptOnly: "NAME=value".
	Env []string
	// Files are further ones, by absolute name; those that begin with #! or are ELF
	// are executable.
	Files map[string]string
	// Programs are packages of Go programs to be built into /usr/bin.
	Programs []string
	// Modules are loaded at the start with what they need, in the right order.
	Modules []string
	// Disks are /dev/vda, /dev/vdb, …
	Disks []Disk

	Args    []string // more arguments for nines-init
	Cmdline string   // more for the kernel's command line
	QEMU    []string // more arguments for QEMU

	// VirtualTime lets the guest's clock jump to the next timer when nothing runs,
	// so that an hour of waiting takes seconds. It is for one CPU.
	VirtualTime bool
	// Timeout is when the machine is killed; four minutes.
	Timeout time.Duration
}

// Disk is a disk image, which lasts from one machine to the next.
type Disk struct {
	Path string
	// Mount is where an ext4 filesystem is mounted before anything starts, unless
	// Init is Direct; "" does not mount it.
	Mount string
}

// NewDisk makes a sparse image of so many MiB with an empty ext4 filesystem.
func NewDisk(t testing.TB, mib int64, mount string) Disk {
	t.Helper()
	d := Disk{Path: filepath.Join(t.TempDir(), "disk.img"), Mount: mount}
	if err := os.WriteFile(d.Path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(d.Path, mib<<20); err != nil {
		t.Fatal(err)
	}
	// Debian keeps it out of the PATH of users.
	if _, err := command("", "/sbin/mkfs.ext4", "-q", d.Path); err != nil {
		t.Fatal(err)
	}
	return d
}

// driverSpec runs the script as a task under nines.
const driverSpec = `service "driver" {
  type        = "task"
  command     = ["/usr/bin/guest", "drive"]
  inherit_env = true
  start {
    timeout = "1h"
  }
  restart {
    policy = "never"
  }
}
`

// initramfs writes the guest's files to path.
func (m *Machine) initramfs(path string, k *Kernel) error {
	programs, err := built()
	if err != nil {
		return err
	}
	busybox, err := os.ReadFile(k.Busybox)
	if err != nil {
		return err
	}
	applets, err := command("", k.Busybox, "--list")
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	a := newArchive(f)
	for _, dir := range []string{"/proc", "/sys", "/dev", "/run", "/tmp", "/out", "/root", "/var/lib", "/var/log", "/mnt"} {
		a.folders(dir)
	}
	a.device("/dev/console", 5, 1) // the kernel opens it for PID 1
	a.device("/dev/null", 1, 3)    // Go's runtime wants it where a standard stream is closed
	a.file("/bin/busybox", busybox, 0o755)
	for name := range strings.FieldsSeq(applets) {
		if name != "busybox" {
			a.symlink("/bin/"+name, "busybox")
		}
	}
	for name, body := range programs {
		a.file("/usr/bin/"+name, body, 0o755)
	}
	if err := m.extraPrograms(a); err != nil {
		return err
	}
	a.symlink("/init", "/usr/bin/nines-init")
	a.symlink("/usr/bin/go", "guest") // see guest/gobuild.go
	a.file("/etc/passwd", []byte("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"), 0o644)
	a.file("/etc/group", []byte("root:x:0:\nnogroup:x:65534:\n"), 0o644)
	a.file("/etc/hosts", []byte("127.0.0.1 localhost\n"), 0o644)
	if m.Init != ScriptOnly {
		a.file("/etc/nines/nines.hcl", []byte(m.Spec), 0o644)
		if m.Script != "" {
			a.file("/etc/nines/00-driver.hcl", []byte(driverSpec), 0o644)
		}
	}
	a.file("/etc/vm/script", []byte(". /etc/vm/lib.sh\n"+m.Script+"\n"), 0o644)
	a.file("/etc/vm/lib.sh", []byte(guestLibrary), 0o644)
	a.file("/etc/vm/then", []byte(m.Then), 0o644)
	a.file("/etc/vm/env", []byte(strings.Join(m.Env, "\n")), 0o644)
	if err := m.modules(a, k); err != nil {
		return err
	}
	for name, body := range m.Files {
		perm := os.FileMode(0o644)
		if strings.HasPrefix(body, "#!") || strings.HasPrefix(body, "\x7fELF") {
			perm = 0o755
		}
		a.file(name, []byte(body), perm)
	}
	if err := a.close(); err != nil {
		return fmt.Errorf("cannot write the initramfs: %w", err)
	}
	return nil
}

func (m *Machine) extraPrograms(a *archive) (err error) {
	if len(m.Programs) == 0 {
		return nil
	}
	dir, err := os.MkdirTemp("", "nines-vm-bin-")
	if err != nil {
		return err
	}
	defer removeAll(dir, &err)
	if err := build(dir, m.Programs...); err != nil {
		return err
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		body, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return err
		}
		a.file("/usr/bin/"+f.Name(), body, 0o755)
	}
	return nil
}

// modules adds the modules, and the lists of what to load and what to mount.
func (m *Machine) modules(a *archive, k *Kernel) error {
	names := m.Modules
	var mounts bytes.Buffer
	if len(m.Disks) > 0 {
		names = append([]string{"virtio_blk"}, names...)
	}
	for i, d := range m.Disks {
		if d.Mount != "" {
			fmt.Fprintf(&mounts, "/dev/vd%c %s\n", 'a'+i, d.Mount)
		}
	}
	modules, err := k.Modules(names...)
	if err != nil {
		return err
	}
	var list bytes.Buffer
	for _, mod := range modules {
		a.file("/lib/modules/"+mod.Name+".ko", mod.Body, 0o644)
		fmt.Fprintln(&list, mod.Name)
	}
	a.file("/etc/vm/modules", list.Bytes(), 0o644)
	a.file("/etc/vm/mounts", mounts.Bytes(), 0o644)
	return nil
}

// cmdline is the kernel's command line. What follows -- is for PID 1.
func (m *Machine) cmdline() string {
	// panic=-1 and QEMU's -no-reboot: the end of PID 1 ends the machine at once.
	// no5lvl: one table less for each page that the emulation looks up.
	line := "console=ttyS0 quiet loglevel=1 panic=-1 mitigations=off no5lvl nokaslr no_timer_check random.trust_cpu=on " + m.Cmdline
	if !m.VirtualTime {
		line += " tsc=reliable"
	}
	args := m.Args
	switch m.Init {
	case Mounted:
		line += " rdinit=/usr/bin/guest"
		args = append([]string{"keep"}, args...)
	case ScriptOnly:
		line += " rdinit=/usr/bin/guest"
		args = []string{"script"}
	case Direct:
		line += " rdinit=/init"
	}
	if len(args) > 0 {
		line += " -- " + strings.Join(args, " ")
	}
	return line
}

// The descriptors that QEMU gets, after its standard ones.
const (
	fdConsole = 3 + iota
	fdOutput
	fdQMP
)

// qemu is its command line; dir holds initramfs and files.tar.
func (m *Machine) qemu(dir string, k *Kernel) []string {
	cpus, memory := max(m.CPUs, 1), m.Memory
	if memory == 0 {
		memory = 512
	}
	args := []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-M", "q35", "-cpu", "max", "-no-reboot",
		"-m", fmt.Sprintf("%dM", memory), "-smp", fmt.Sprint(cpus),
		"-kernel", k.Image, "-initrd", filepath.Join(dir, "initramfs"), "-append", m.cmdline(),
		"-chardev", fmt.Sprintf("socket,id=console,fd=%d", fdConsole), "-serial", "chardev:console",
		"-chardev", fmt.Sprintf("socket,id=qmp,fd=%d", fdQMP), "-mon", "chardev=qmp,mode=control",
		"-device", "virtio-serial-pci",
		"-chardev", fmt.Sprintf("socket,id=output,fd=%d", fdOutput), "-device", "virtserialport,chardev=output,name=nines.output",
		"-chardev", "file,id=files,path=" + filepath.Join(dir, "files.tar"), "-device", "virtserialport,chardev=files,name=nines.files",
	}
	if m.VirtualTime {
		args = append(args, "-accel", "tcg,thread=single", "-icount", "shift=auto,sleep=off")
	} else {
		args = append(args, "-accel", "tcg,thread=multi")
	}
	for _, d := range m.Disks {
		args = append(args, "-drive", "format=raw,if=virtio,cache=writeback,file="+d.Path)
	}
	return append(args, m.QEMU...)
}
