package logs

import (
	"crypto/rand"
	"encoding/hex"
	"sync"
	"time"
)

// Notice is what the supervisor hears from the log process without asking.
type Notice struct {
	Seq      uint64    `json:"seq"` // from 1, without holes, within one Epoch
	Time     time.Time `json:"time"`
	Service  string    `json:"service,omitempty"`
	Instance string    `json:"instance,omitempty"`
	Stream   string    `json:"stream,omitempty"`
	Lines    uint64    `json:"lines,omitempty"` // lost
	Text     string    `json:"text"`            // in plain words
}

// maxNotices are kept for a supervisor that is away.
const maxNotices = 4096

// notices numbers what is to be told, and keeps the newest. The numbers begin
// anew with each process, which the epoch tells apart. Safe for concurrent use.
type notices struct {
	epoch string

	mu      sync.Mutex
	kept    []Notice
	last    uint64
	changed chan struct{} // closed at the next one
}

func newNotices() *notices {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24: it ends the program instead
	return &notices{epoch: hex.EncodeToString(b[:]), changed: make(chan struct{})}
}

func lostNotice(s *Settings, lines uint64, text string) Notice {
	return Notice{Service: s.Service, Instance: s.Instance, Stream: s.Stream, Lines: lines, Text: text}
}

func (n *notices) add(v Notice) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.last++
	v.Seq, v.Time = n.last, time.Now().UTC()
	if len(n.kept) == maxNotices {
		n.kept = append(n.kept[:0], n.kept[maxNotices/4:]...)
	}
	n.kept = append(n.kept, v)
	close(n.changed)
	n.changed = make(chan struct{})
}

// after returns what came after number seq, and a channel that is closed when
// there is more.
func (n *notices) after(seq uint64) ([]Notice, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if seq > n.last {
		seq = 0 // not a number of ours
	}
	first := n.last - uint64(len(n.kept)) // number before the oldest kept
	return append([]Notice(nil), n.kept[max(seq, first)-first:]...), n.changed
}
