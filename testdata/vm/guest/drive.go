package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// drive runs the script with the host's port as its standard streams, hands over
// what it left, and ends the machine as was asked for.
func drive(alone bool) error {
	output, err := openPort("nines.output")
	if err != nil {
		return err
	}
	code, err := runScript(output)
	if err != nil {
		return err
	}
	if err := handOver(code); err != nil {
		return fmt.Errorf("cannot hand over the results: %w", err)
	}
	then, err := os.ReadFile("/etc/vm/then")
	if err != nil {
		return err
	}
	if len(then) > 0 && !alone {
		return exec([]string{"/bin/sh", "-c", string(then)})
	}
	unix.Sync()
	return os.NewSyscallError("reboot", unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF))
}

// runScript returns the script's exit status, 128+N for signal N. As PID 1 it
// reaps whatever else ends meanwhile.
func runScript(output *os.File) (int, error) {
	env := os.Environ()
	if os.Getpid() == 1 {
		env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TERM=linux"}
	}
	extra, err := os.ReadFile("/etc/vm/env")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(extra)) {
		env = append(env, strings.TrimSpace(line))
	}
	p, err := os.StartProcess("/bin/sh", []string{"sh", "-eu", "/etc/vm/script"}, &os.ProcAttr{
		Dir: "/", Env: env, Files: []*os.File{output, output, output}, Sys: &unix.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return 0, err
	}
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, os.NewSyscallError("wait4", err)
		case pid == p.Pid && status.Exited():
			return status.ExitStatus(), nil
		case pid == p.Pid:
			return 128 + int(status.Signal()), nil
		}
	}
}

// handOver packs /out, and after it the exit status: the host takes its presence
// for the proof that all went well.
func handOver(code int) error {
	files, err := openPort("nines.files")
	if err != nil {
		return err
	}
	defer files.Close()
	w := tar.NewWriter(files)
	err = filepath.WalkDir("/out", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return add(w, strings.TrimPrefix(path, "/"), body)
	})
	if err != nil {
		return err
	}
	if err := add(w, "exit", []byte(strconv.Itoa(code))); err != nil {
		return err
	}
	return w.Close()
}

func add(w *tar.Writer, name string, body []byte) error {
	if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: int64(len(body)), Mode: 0o644}); err != nil {
		return err
	}
	_, err := w.Write(body)
	return err
}

// openPort opens a virtio serial port. The name comes from the host a moment
// after the device does, and no udev is here to wait for.
func openPort(name string) (*os.File, error) {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		found, err := filepath.Glob("/sys/class/virtio-ports/*/name")
		if err != nil {
			return nil, err
		}
		for _, file := range found {
			text, err := os.ReadFile(file)
			if err == nil && strings.TrimSpace(string(text)) == name {
				// Not by os.OpenFile, which would make it non-blocking, for the script too.
				dev := "/dev/" + filepath.Base(filepath.Dir(file))
				fd, err := unix.Open(dev, unix.O_RDWR|unix.O_CLOEXEC, 0)
				if err != nil {
					return nil, &fs.PathError{Op: "open", Path: dev, Err: err}
				}
				return os.NewFile(uintptr(fd), dev), nil
			}
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("cannot find the virtio port %s: are /sys and /dev mounted? (%d ports)", name, len(found))
		}
	}
}
