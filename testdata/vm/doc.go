// Package vm boots a real kernel in QEMU, with nines-init as PID 1 and every
// cgroup v2 controller, for tests of what a container or the machine that
// tests cannot give. README.md shows its use.
//
// The kernel, its modules and busybox come from Debian packages, unpacked into
// a cache and never installed. QEMU emulates (-accel tcg); KVM is never used,
// so that a virtual machine without nested virtualisation will do, and a result
// is the same everywhere.
//
// A machine is made of a Machine: an initramfs with the four programs, busybox,
// the test programs and a spec. Its script runs in the guest as the task
// "driver" of that spec, beside the services under test. What it prints is the
// Output, what it leaves in /out is brought back, and its exit status too,
// whose arrival is the only proof that it ran to its end: QEMU exits with 0
// whatever happened inside.
package vm
