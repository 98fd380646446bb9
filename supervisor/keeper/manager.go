package keeper

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"nines/supervisor/notify"
)

const managerRetry = 100 * time.Millisecond

// manager is who started the keeper and asked by NOTIFY_SOCKET to be told how
// it does: systemd, for a unit of Type=notify. What its full socket does not
// take now is sent a moment later: a READY=1 that is lost is a unit that fails.
type manager struct {
	say     func(string)
	now     func() time.Time
	addr    *unix.SockaddrUnix // nil: there is none
	pending notify.Message     // each key once, the latest
	isReady bool
	isEnd   bool
	retryAt time.Time // zero: nothing is to be sent again
}

// newManager reads the address: a path, or "@name" for an abstract one.
func newManager(address string, say func(string), now func() time.Time) *manager {
	m := &manager{say: say, now: now}
	switch {
	case address == "":
	case address[0] == '/', address[0] == '@' && len(address) > 1:
		m.addr = &unix.SockaddrUnix{Name: address}
	default:
		say("cannot notify " + address + ": NOTIFY_SOCKET is no path and no abstract address: nobody is notified")
	}
	return m
}

// ready passes the first READY=1 on. A supervisor that is started again is not
// the manager's business.
func (m *manager) ready() {
	if !m.isReady {
		m.isReady = true
		m.put(notify.Ready())
	}
}

func (m *manager) stopping() {
	if !m.isEnd {
		m.isEnd = true
		m.put(notify.Stopping())
	}
}

func (m *manager) status(text string) { m.put(notify.Status(text)) }

func (m *manager) put(f notify.Field) {
	if m.addr == nil {
		return
	}
	for i := range m.pending {
		if m.pending[i].Key == f.Key {
			m.pending[i] = f
			m.send()
			return
		}
	}
	m.pending = append(m.pending, f)
	m.send()
}

func (m *manager) send() {
	if m.addr == nil || len(m.pending) == 0 {
		return
	}
	err := m.transmit(m.pending.Append(nil))
	switch err {
	case unix.EAGAIN, unix.ENOBUFS, unix.ENOMEM, unix.EMFILE, unix.ENFILE:
		m.retryAt = m.now().Add(managerRetry)
		return
	case nil:
	default:
		m.say("cannot notify " + m.addr.Name + ": " + os.NewSyscallError("sendmsg", err).Error() + ": it is not told " + m.pending[0].Key)
	}
	m.pending, m.retryAt = m.pending[:0], time.Time{}
}

// transmit uses a new socket each time, so that a manager that has been
// restarted meanwhile is found.
func (m *manager) transmit(b []byte) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer notify.CloseAll([]int{fd})
	for {
		err = unix.Sendto(fd, b, unix.MSG_NOSIGNAL, m.addr)
		if err != unix.EINTR {
			return err
		}
	}
}
