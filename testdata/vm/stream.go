package vm

import (
	"bytes"
	"os"
	"sync"
)

// stream is a connection to the guest: all that came over it is kept.
type stream struct {
	conn *os.File
	mu   sync.Mutex
	more *sync.Cond // something came, or the end
	got  bytes.Buffer
	over bool
}

func newStream(conn *os.File) *stream {
	s := &stream{conn: conn}
	s.more = sync.NewCond(&s.mu)
	return s
}

// read keeps what comes until the other end is closed.
func (s *stream) read() {
	defer s.conn.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := s.conn.Read(buf)
		s.mu.Lock()
		s.got.Write(buf[:n])
		s.over = err != nil
		over := s.over
		s.more.Broadcast()
		s.mu.Unlock()
		if over {
			return
		}
	}
}

// wait returns whether text came before the end.
func (s *stream) wait(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !bytes.Contains(s.got.Bytes(), []byte(text)) {
		if s.over {
			return false
		}
		s.more.Wait()
	}
	return true
}

func (s *stream) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got.String()
}
