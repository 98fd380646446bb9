package vm

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"
)

// monitor speaks QMP, QEMU's control protocol: JSON objects both ways, an
// answer to each command, events in between.
type monitor struct {
	conn    *os.File
	answers chan answer // one a command; closed at the end
	asking  sync.Mutex  // one command at a time

	mu       sync.Mutex
	reason   string // of the SHUTDOWN event
	watchdog bool
}

type answer struct {
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Desc string `json:"desc"`
	} `json:"error"`
	Event string `json:"event"`
	Data  struct {
		Reason string `json:"reason"`
	} `json:"data"`
}

func newMonitor(conn *os.File) *monitor {
	return &monitor{conn: conn, answers: make(chan answer, 1)}
}

func (m *monitor) read() {
	defer m.conn.Close()
	defer close(m.answers)
	for in := json.NewDecoder(m.conn); ; {
		var a answer
		if err := in.Decode(&a); err != nil {
			return
		}
		switch {
		case a.Event == "SHUTDOWN":
			m.mu.Lock()
			m.reason = a.Data.Reason
			m.mu.Unlock()
		case a.Event == "WATCHDOG":
			m.mu.Lock()
			m.watchdog = true
			m.mu.Unlock()
		case a.Return != nil || a.Error != nil:
			m.answers <- a
		}
	}
}

// ended returns the reason of the SHUTDOWN event ("guest-shutdown",
// "guest-reset", …), and whether the hardware watchdog bit.
func (m *monitor) ended() (reason string, watchdog bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reason, m.watchdog
}

// do gives a command and waits for its answer. The first one has to be
// qmp_capabilities; before it, there are no events.
func (m *monitor) do(command string, arguments any) error {
	m.asking.Lock()
	defer m.asking.Unlock()
	text, err := json.Marshal(struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
	}{command, arguments})
	if err != nil {
		return err
	}
	if _, err := m.conn.Write(text); err != nil {
		return fmt.Errorf("cannot ask QEMU for %s: %w", command, err)
	}
	a, ok := <-m.answers
	switch {
	case !ok:
		return fmt.Errorf("cannot ask QEMU for %s: it ended", command)
	case a.Error != nil:
		return fmt.Errorf("cannot ask QEMU for %s: %s", command, a.Error.Desc)
	}
	return nil
}
