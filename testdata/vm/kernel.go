package vm

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// kernels are the packages to take the kernel from, the first that apt knows:
// Debian 12's newer one, and that of Debian 13 and later. Older ones have
// virtio as modules, without which the guest cannot speak.
var kernels = []string{"linux-image-6.12-cloud-amd64", "linux-image-cloud-amd64"}

// Kernel is a kernel with its modules and a busybox, in the cache.
type Kernel struct {
	dir string // holds kernel/ and busybox/, as dpkg-deb -x unpacks the packages
	// Image is the path of the kernel itself: uncompressed where there is zstd,
	// which boots a second sooner.
	Image string
	// Busybox is the path of a static busybox.
	Busybox string
}

// Fetch returns the kernel that the cache has, or else downloads it from the
// machine's Debian mirror: about 35 MB. The cache is the folder NINES_VM_CACHE,
// or nines-vm in the user's cache folder. An error says what is missing.
func Fetch() (*Kernel, error) {
	if runtime.GOARCH != "amd64" {
		return nil, fmt.Errorf("cannot run a virtual machine: it is for amd64, and this is %s", runtime.GOARCH)
	}
	cache := os.Getenv("NINES_VM_CACHE")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			user = filepath.Join(os.TempDir(), fmt.Sprintf("nines-vm-%d", os.Getuid())) // no HOME
		}
		cache = filepath.Join(user, "nines-vm")
	}
	k, err := open(cache)
	if err != nil {
		if err := download(cache); err != nil {
			return nil, fmt.Errorf("cannot get a kernel for the virtual machine: %w", err)
		}
		if k, err = open(cache); err != nil {
			return nil, err
		}
	}
	if err := k.uncompress(); err != nil {
		return nil, fmt.Errorf("cannot uncompress the kernel: %w", err)
	}
	return k, nil
}

// uncompress makes Image the kernel that is inside the compressed one, once:
// QEMU starts it by its PVH entry. Without zstd, or where the kernel was
// compressed otherwise, Image stays what it is.
func (k *Kernel) uncompress() error {
	path := filepath.Join(k.dir, strings.Replace(filepath.Base(k.Image), "vmlinuz", "vmlinux", 1))
	if _, err := os.Stat(path); err == nil {
		k.Image = path
		return nil
	}
	zstd, err := exec.LookPath("zstd")
	if err != nil {
		return nil
	}
	image, err := os.ReadFile(k.Image)
	if err != nil {
		return err
	}
	// The kernel's Documentation/arch/x86/boot.rst: sectors of the real-mode code,
	// then where the payload begins after them, and how long it is.
	const setupSects, payloadOffset, payloadLength, header = 0x1f1, 0x248, 0x24c, 0x250
	if len(image) < header {
		return fmt.Errorf("%s is no kernel", k.Image)
	}
	begin := (int(image[setupSects])+1)*512 + int(binary.LittleEndian.Uint32(image[payloadOffset:]))
	end := begin + int(binary.LittleEndian.Uint32(image[payloadLength:]))
	if begin > end || end > len(image) || !bytes.HasPrefix(image[begin:end], []byte("\x28\xb5\x2f\xfd")) {
		return nil // another compression
	}
	f, err := os.CreateTemp(k.dir, "vmlinux-new-")
	if err != nil {
		return err
	}
	cmd := exec.Command(zstd, "-dcq")
	// The last four bytes are the uncompressed length.
	cmd.Stdin, cmd.Stdout = bytes.NewReader(image[begin:end-4]), f
	err = errors.Join(cmd.Run(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path) // two at once make the same
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	k.Image = path
	return nil
}

// open finds what download left.
func open(cache string) (*Kernel, error) {
	k := &Kernel{dir: filepath.Join(cache, "unpacked")}
	images, err := filepath.Glob(filepath.Join(k.dir, "kernel/boot/vmlinuz-*"))
	if err != nil || len(images) == 0 {
		return nil, errors.Join(fmt.Errorf("cannot find boot/vmlinuz-* in %s/kernel: remove the folder to have it fetched again", k.dir), err)
	}
	k.Image, k.Busybox = images[0], filepath.Join(k.dir, "busybox/bin/busybox")
	if _, err := os.Stat(k.Busybox); err != nil {
		return nil, err
	}
	return k, nil
}

// download puts both packages into the cache, unpacked, all or nothing: two at
// once each make their own, and the first one's stays.
func download(cache string) (err error) {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(cache, "fetch-")
	if err != nil {
		return err
	}
	defer removeAll(tmp, &err)
	if err := os.Mkdir(filepath.Join(tmp, "unpacked"), 0o755); err != nil {
		return err
	}
	var name string
	for _, meta := range kernels {
		out, err := command(tmp, "apt-cache", "depends", meta)
		if err != nil {
			continue // apt does not know it
		}
		for line := range strings.Lines(out) {
			if dep, ok := strings.CutPrefix(strings.TrimSpace(line), "Depends: linux-image-"); ok && name == "" {
				name = "linux-image-" + dep
			}
		}
		if name != "" {
			break
		}
	}
	if name == "" {
		return fmt.Errorf("apt knows none of %s: run apt-get update; on another system than Debian, NINES_VM=off leaves these tests out", strings.Join(kernels, ", "))
	}
	if _, err := command(tmp, "apt-get", "download", "-q", name, "busybox-static"); err != nil {
		return err
	}
	for dir, pattern := range map[string]string{"kernel": "linux-image-*.deb", "busybox": "busybox-static_*.deb"} {
		debs, err := filepath.Glob(filepath.Join(tmp, pattern))
		if err != nil || len(debs) != 1 {
			return errors.Join(fmt.Errorf("cannot find one %s among what apt-get downloaded: %q", pattern, debs), err)
		}
		if _, err := command(tmp, "dpkg-deb", "-x", debs[0], "unpacked/"+dir); err != nil {
			return err
		}
	}
	err = os.Rename(filepath.Join(tmp, "unpacked"), filepath.Join(cache, "unpacked"))
	if errors.Is(err, fs.ErrExist) {
		return nil // another one was quicker
	}
	return err
}

// command runs a program in dir and returns what it prints.
func command(dir, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	var out, errs bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("cannot run %s %s: %w\n%s", name, strings.Join(args, " "), err, errs.Bytes())
	}
	return out.String(), nil
}

// Module is a kernel module, not compressed, for finit_module.
type Module struct {
	Name string
	Body []byte
}

// Modules returns the named modules and what they depend on, each after what it
// needs; what is built into the kernel is left out.
func (k *Kernel) Modules(names ...string) ([]Module, error) {
	files := map[string]string{}
	var builtin string
	err := filepath.WalkDir(filepath.Join(k.dir, "kernel/lib/modules"), func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if filepath.Base(path) == "modules.builtin" {
			text, err := os.ReadFile(path)
			builtin = string(text)
			return err
		}
		if name, _, ok := strings.Cut(filepath.Base(path), ".ko"); ok {
			files[moduleName(name)] = path
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot look for kernel modules: %w", err)
	}
	var all []Module
	var add func(name string) error
	add = func(name string) error {
		name = moduleName(name)
		if slices.ContainsFunc(all, func(m Module) bool { return m.Name == name }) {
			return nil
		}
		path, ok := files[name]
		if !ok {
			for line := range strings.Lines(builtin) {
				if moduleName(strings.TrimSuffix(filepath.Base(strings.TrimSpace(line)), ".ko")) == name {
					return nil
				}
			}
			return fmt.Errorf("cannot find kernel module %s in %s", name, k.dir)
		}
		body, err := readModule(path)
		if err != nil {
			return err
		}
		needs, err := moduleNeeds(body)
		if err != nil {
			return fmt.Errorf("cannot read kernel module %s: %w", path, err)
		}
		for _, n := range needs {
			if err := add(n); err != nil {
				return err
			}
		}
		all = append(all, Module{Name: name, Body: body})
		return nil
	}
	for _, name := range names {
		if err := add(name); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// moduleName is the kernel's own spelling: a file may say - where it says _.
func moduleName(name string) string { return strings.ReplaceAll(name, "-", "_") }

func readModule(path string) ([]byte, error) {
	if !strings.HasSuffix(path, ".xz") {
		return os.ReadFile(path)
	}
	out, err := command("", "xz", "-dc", path)
	return []byte(out), err
}

// moduleNeeds reads depends= from a module's .modinfo section.
func moduleNeeds(body []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	section := f.Section(".modinfo")
	if section == nil {
		return nil, errors.New("it has no section .modinfo")
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	for field := range strings.SplitSeq(string(info), "\x00") {
		if list, ok := strings.CutPrefix(field, "depends="); ok && list != "" {
			return strings.Split(list, ","), nil
		}
	}
	return nil, nil
}
