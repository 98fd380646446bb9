package entry

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// play is what this program does as one of the processes of a test.
func play(role string, args []string) int {
	var err error
	switch role {
	case "given":
		err = playGiven(args)
	case "report":
		err = playReport(args)
	case "full":
		err = playFull()
	case "tty":
		err = playTTY()
	case "shell":
		err = playShell(args)
	case "orphans":
		err = playOrphans(args)
	default:
		err = errors.New("no such role: " + role)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, role+":", err)
		return 99
	}
	return 0
}

// playGiven executes the rest of args with signals ignored and blocked.
func playGiven(args []string) error {
	runtime.LockOSThread()
	ignored, err := strconv.ParseUint(args[0], 16, 64)
	if err != nil {
		return err
	}
	blocked, err := strconv.ParseUint(args[1], 16, 64)
	if err != nil {
		return err
	}
	for sig := unix.Signal(1); sig <= maxSignal; sig++ {
		as := action{handler: sigDefault}
		if set(ignored).has(sig) {
			as.handler = sigIgnore
		}
		if err := sigaction(sig, &as, nil); err != nil && sig != unix.SIGKILL && sig != unix.SIGSTOP {
			return err
		}
	}
	sigmask(unix.SIG_SETMASK, set(blocked))
	return syscall.Exec(args[2], args[2:], os.Environ())
}

// playReport catches everything and prints the number of each signal that
// comes, until SIGTERM. With an argument it exits with that at SIGTERM.
func playReport(args []string) error {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	c, err := newCatcher(p[1])
	if err != nil {
		return err
	}
	if err := c.catch(^setOf(unix.SIGKILL, unix.SIGSTOP, 32, 33)); err != nil {
		return err
	}
	fmt.Println("ready")
	for {
		var b [1]byte
		n, err := unix.Read(p[0], b[:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || n != 1 {
			return fmt.Errorf("%d, %w", n, err)
		}
		fmt.Println(b[0])
		if unix.Signal(b[0]) == unix.SIGTERM {
			if len(args) > 0 {
				code, err := strconv.Atoi(args[0])
				if err != nil {
					return err
				}
				os.Exit(code)
			}
			return nil
		}
	}
}

// playFull prints the signals that find the pipe full, until SIGTERM.
func playFull() error {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return err
	}
	c, err := newCatcher(p[1])
	if err != nil {
		return err
	}
	var filler [4096]byte
	for err == nil {
		_, err = unix.Write(p[1], filler[:])
	}
	if err := c.catch(setOf(unix.SIGUSR1, unix.SIGTERM, maxSignal)); err != nil {
		return err
	}
	fmt.Println("ready")
	for {
		missed := c.missed()
		for sig := unix.Signal(1); sig <= maxSignal; sig++ {
			if missed.has(sig) {
				fmt.Println(int(sig))
			}
		}
		if missed.has(unix.SIGTERM) {
			return nil
		}
		runtime.Gosched()
	}
}

// playTTY says how it stands to its terminal, then repeats what is typed.
func playTTY() error {
	group, err := unix.IoctlGetInt(0, unix.TIOCGPGRP)
	if err != nil {
		return err
	}
	session, err := unix.Getsid(0)
	if err != nil {
		return err
	}
	fmt.Printf("foreground %v leader %v session %v\n", group == unix.Getpgrp(), unix.Getpgrp() == os.Getpid(), session == os.Getpid())
	for s := bufio.NewScanner(os.Stdin); s.Scan(); {
		if group, err = unix.IoctlGetInt(0, unix.TIOCGPGRP); err != nil {
			return err
		}
		fmt.Printf("%s, foreground %v\n", s.Text(), group == unix.Getpgrp())
	}
	return nil
}

// playShell is a shell with job control and one job: args. It is told on
// descriptor 3 what to do, one letter each, and says on descriptor 4 what it
// saw.
func playShell(args []string) error {
	runtime.LockOSThread()
	sigmask(unix.SIG_BLOCK, setOf(unix.SIGTTOU))
	tell := os.NewFile(4, "tell")
	ask := bufio.NewReader(os.NewFile(3, "ask"))
	unix.CloseOnExec(3)
	unix.CloseOnExec(4)
	own := unix.Getpgrp()
	background := args[0] == "&"
	if background {
		args = args[1:]
	}
	// Its job is to get the mask as it was.
	sigmask(unix.SIG_SETMASK, 0)
	job, err := syscall.ForkExec(args[0], args, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2},
		Sys: &syscall.SysProcAttr{Setpgid: background, Foreground: !background, Ctty: 0}})
	sigmask(unix.SIG_BLOCK, setOf(unix.SIGTTOU))
	if err != nil {
		return err
	}
	fmt.Fprintln(tell, "job", job)
	for {
		var status unix.WaitStatus
		if _, err := unix.Wait4(job, &status, unix.WUNTRACED, nil); err != nil {
			return err
		}
		group, err := unix.IoctlGetInt(0, unix.TIOCGPGRP)
		if err != nil {
			return err
		}
		if !status.Stopped() {
			fmt.Fprintln(tell, "ended", status.ExitStatus(), "terminal returned", group == job)
			return nil
		}
		if err := unix.IoctlSetPointerInt(0, unix.TIOCSPGRP, own); err != nil {
			return err
		}
		fmt.Fprintln(tell, "stopped", unix.SignalName(status.StopSignal()))
		line, err := ask.ReadString('\n')
		if err != nil {
			return err
		}
		if strings.TrimSpace(line) == "fg" {
			if err := unix.IoctlSetPointerInt(0, unix.TIOCSPGRP, job); err != nil {
				return err
			}
		}
		if err := unix.Kill(-job, unix.SIGCONT); err != nil {
			return err
		}
		fmt.Fprintln(tell, "continued")
	}
}

// playOrphans makes as many orphans as it is told, prints how many it made and
// waits for the end of stdin.
func playOrphans(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	const atOnce = 50
	for made := 0; made < n; made += atOnce {
		// A shell that does not wait for what it starts.
		job, err := syscall.ForkExec("/bin/sh", []string{"sh", "-c", "i=0; while [ $i -lt " + strconv.Itoa(atOnce) + " ]; do : & i=$((i+1)); done"},
			&syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}})
		if err != nil {
			return err
		}
		var status unix.WaitStatus
		for {
			if _, err = unix.Wait4(job, &status, 0, nil); err != unix.EINTR {
				break
			}
		}
		if err != nil || status.ExitStatus() != 0 {
			return fmt.Errorf("%v, %w", status, err)
		}
	}
	fmt.Println("made", n)
	_, err = bufio.NewReader(os.Stdin).ReadString('\n')
	if err == nil {
		return errors.New("nobody was to write")
	}
	return nil
}
