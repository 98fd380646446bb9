// Package boot is what the init of a machine does before anything is supervised
// and after all of it has ended: mechanism only, linked into PID 1.
//
// # The contract
//
//   - Nothing of it happens in a container. A machine's init is PID 1 of the
//     kernel's initial PID namespace (Detect).
//   - Begin is idempotent. Each mount is made only where none is yet; a step that
//     fails is said on the console, and the rest goes on.
//   - Resume changes nothing: an init that has become another program has a machine
//     that was begun.
//   - End never returns and never hangs. Each step is bounded: what may block in
//     the kernel (umount of a dead server, sync to a dying disk) runs in a
//     goroutine that is left behind when its time is over, and endBound after its
//     beginning the machine is restarted, powered off or halted whatever else is
//     unfinished.
//   - A panic is said and costs the step that it was in.
//   - The hardware watchdog is petted here only where the keeper does not run: in
//     a shell, and during End.
//
// # The end, in order
//
//	SIGTERM to all, then SIGKILL   but to kernel threads, and to what serves the
//	                               root filesystem itself (argv[0] begins with '@')
//	sync
//	unmount, swapoff, loop detach  in reverse order, again while it helps
//	remount read-only              what could not be unmounted, / among it
//	detach                         what is neither (MNT_DETACH)
//	sync, reboot(2)
//
// # The kernel's command line
//
//	nines.spec=PATH            a spec, instead of /etc/nines; repeatable
//	nines.watchdog=PATH        pet this hardware watchdog from the beginning
//	nines.watchdog_sec=N       its timeout (default 60)
//	single, emergency, rescue, a shell on the console before anything of the spec
//	s, S, 1, nines.emergency   starts; the boot goes on when it ends
//
// # Signals to PID 1 of a machine
//
//	SIGINT (Ctrl-Alt-Del), SIGTERM     restart, as busybox and finit have it;
//	                                   eight SIGINT in two seconds: at once
//	SIGPWR, SIGUSR2                    power off
//	SIGUSR1                            halt
//	SIGRTMIN+3 +4 +5 +6                halt, power off, restart, kexec, as systemd
//	SIGRTMIN+13 +14 +15 +16            the same, without stopping services in order
//
// SIGTERM is no re-execution, as it is for systemd: `reboot`, `poweroff` and
// `halt` of busybox send TERM, USR2 and USR1, and so work.
package boot
