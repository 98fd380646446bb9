package boot

import (
	"errors"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Dog is a hardware watchdog (Documentation/watchdog/watchdog-api.rst). From
// Open on the machine is reset when it was not petted for its timeout. Its
// methods may be called from any goroutine.
type Dog struct {
	timeout time.Duration

	mu       sync.Mutex
	fd       int
	path     string // "": not open
	interval time.Duration
}

// NewDog is one that is not open. timeout is what the device is asked for.
func NewDog(timeout time.Duration) *Dog { return &Dog{timeout: timeout, fd: -1} }

// SetTimeout changes what the device is asked for at the next Open.
func (d *Dog) SetTimeout(timeout time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.timeout = timeout
}

// Open arms the device; the one that was open, if it is another, is disarmed.
// The device may take another timeout than it was asked for: Interval follows it.
func (d *Dog) Open(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.path == path {
		return nil
	}
	fd, err := open(path, unix.O_WRONLY)
	if err != nil {
		return errors.New("cannot open the hardware watchdog: " + err.Error() + ": load its module (softdog where the machine has none), or end who holds it")
	}
	err = d.close(true)
	seconds := int(d.timeout / time.Second)
	// ENOTTY, EOPNOTSUPP: its timeout is fixed.
	if e := retry(func() error { return unix.IoctlSetPointerInt(fd, unix.WDIOC_SETTIMEOUT, seconds) }); e != nil && e != unix.ENOTTY && e != unix.EOPNOTSUPP {
		err = errors.Join(err, errors.New("cannot set the timeout of "+path+" to "+d.timeout.String()+": "+e.Error()))
	}
	if got, e := unix.IoctlGetUint32(fd, unix.WDIOC_GETTIMEOUT); e == nil && got > 0 {
		seconds = int(got)
	}
	// A third: one that comes late is no reset.
	d.fd, d.path, d.interval = fd, path, time.Duration(seconds)*time.Second/3
	return errors.Join(err, d.pet())
}

// Descriptor is that of the open device, or -1.
func (d *Dog) Descriptor() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fd
}

// Take goes on with a device that is open as fd, armed by the program before this
// one, and pets it. Its timeout stays what it is.
func (d *Dog) Take(path string, fd int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.close(true)
	seconds := int(d.timeout / time.Second)
	if got, e := unix.IoctlGetUint32(fd, unix.WDIOC_GETTIMEOUT); e == nil && got > 0 {
		seconds = int(got)
	}
	d.fd, d.path, d.interval = fd, path, time.Duration(seconds)*time.Second/3
	return errors.Join(err, d.pet())
}

// Interval is how often it wants to be petted; 0: it is not open.
func (d *Dog) Interval() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.path == "" {
		return 0
	}
	return d.interval
}

// Pet says that the machine is well.
func (d *Dog) Pet() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.pet()
}

func (d *Dog) pet() error {
	if d.path == "" {
		return nil
	}
	err := retry(func() error { return unix.IoctlWatchdogKeepalive(d.fd) })
	if err == unix.ENOTTY { // a driver that has only write(2)
		err = retry(func() error { _, e := unix.Write(d.fd, []byte{0}); return e })
	}
	if err != nil {
		return &os.PathError{Op: "pet", Path: d.path, Err: err}
	}
	return nil
}

// Close lets go of the device: armed, so that it resets the machine unless
// somebody pets it again, or, with disarm, so that it does not.
func (d *Dog) Close(disarm bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.close(disarm)
}

func (d *Dog) close(disarm bool) error {
	if d.path == "" {
		return nil
	}
	var err error
	if disarm {
		// The magic close. A device that was set to nowayout stays armed.
		err = retry(func() error { _, e := unix.Write(d.fd, []byte{'V'}); return e })
	}
	path := d.path
	err = errors.Join(err, unix.Close(d.fd))
	d.fd, d.path, d.interval = -1, "", 0
	if err != nil {
		return errors.New("cannot close " + path + ": " + err.Error() + " (timeout " + strconv.Itoa(int(d.timeout/time.Second)) + " s)")
	}
	return nil
}
