package main

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"nines/ipc"
)

// chapter is one line of a timeline: something that happened once, or again and
// again from From to To.
type chapter struct {
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Instance string    `json:"instance"` // "": the service, or the supervisor
	Kind     string    `json:"kind"`     // of its first event
	Count    int       `json:"count"`
	Text     string    `json:"text"`
	FirstSeq uint64    `json:"first_seq"` // of its events
	LastSeq  uint64    `json:"last_seq"`
}

// story makes chapters of events, in the order in which they come. The cycle of
// one instance (it ended, was delayed, was started, perhaps was ready) is one
// chapter for as long as it ends in the same way.
type story struct {
	only     string // the instance that it is about; "": all
	chapters []chapter
	slots    map[string]*thread
	began    time.Time // the last supervisor
}

// thread is where an instance stands in the story; indices into chapters, -1:
// none.
type thread struct {
	cycle   int // its ends
	start   int // a start of which it is not known yet whether it became ready
	exit    string
	least   time.Duration // between an end and the next start
	most    time.Duration
	delays  int
	ready   *ipc.Event // the last thing of the cycle was that it was ready again
	again   bool       // the cycle is of starts that the machine refused
	told    string     // the kind of what was told last outside a cycle
	lastSaw time.Time

	revision int // with which it was started last; 0: it was not seen
}

func (s *story) thread(id string) *thread {
	if s.slots == nil {
		s.slots = map[string]*thread{}
	}
	t := s.slots[id]
	if t == nil {
		t = &thread{cycle: -1, start: -1}
		s.slots[id] = t
	}
	return t
}

// add tells the story one event further.
func (s *story) add(e *ipc.Event) {
	switch {
	case e.Service == "" && !aboutAll(e.Kind), s.only != "" && e.Instance != "" && e.Instance != s.only:
		return
	case e.Kind == "spec_applied" && e.Time.Sub(s.began) < time.Second:
		return // a supervisor begins with it
	case e.Instance == "":
		if e.Kind == "supervisor_started" {
			s.began = e.Time
		}
		if e.Service == "" && e.Kind != "log_lost" && e.Kind != "spec_rejected" {
			// What the supervisor's end may have cost stands beside it.
			s.breakAll()
		}
		s.tell(e, e.Message)
		return
	}
	t := s.thread(e.Instance)
	t.lastSaw = e.Time
	asked := strings.HasPrefix(e.Message, "stopped") || strings.HasPrefix(e.Message, "restart asked for")
	switch {
	case e.Kind == "exited" && !asked:
		s.ended(t, e)
	case e.Kind == "oom_killed" && t.cycle >= 0:
		s.extend(t.cycle, e)
	case e.Kind == "backoff" && strings.Contains(e.Message, refused):
		s.refused(t, e)
	case (e.Kind == "backoff" || e.Kind == "restarting") && (t.told == "held" || t.told == "crash_loop"):
		// That line says when it is tried again.
	case (e.Kind == "backoff" || e.Kind == "restarting") && !asked && t.cycle >= 0:
		t.delayed(e)
		s.extend(t.cycle, e)
		s.word(t)
	case e.Kind == "starting" && (e.Fields["count"] != "" || t.again):
		t.ready = nil
		if t.cycle >= 0 {
			s.extend(t.cycle, e)
		}
	case e.Kind == "starting":
		s.close(t)
		text := e.Message
		if t.revision != 0 && e.Revision != 0 && e.Revision != t.revision {
			text += " with revision " + strconv.Itoa(e.Revision)
		}
		t.revision = e.Revision
		t.start = s.tell(e, text)
	case e.Kind == "ready" && t.start >= 0:
		s.extend(t.start, e)
		s.chapters[t.start].Text += ", " + e.Message
		t.start = -1
	case e.Kind == "ready" && (t.cycle >= 0 || t.told == "held"):
		c := *e
		t.ready = &c
	default:
		s.close(t)
		text := e.Message
		if e.Kind == "crash_loop" && !strings.Contains(text, "fatal_codes") {
			text = "crash loop: " + text
		}
		s.tell(e, text)
		t.told = e.Kind
	}
}

// refused begins what policy says where the machine, and not the service, is to
// blame that nothing was started.
const refused = "; this passes"

// refused: the machine would not start it. No end was told before.
func (s *story) refused(t *thread, e *ipc.Event) {
	how, _, _ := strings.Cut(e.Message, refused)
	started := t.start
	s.endedAs(t, e, how)
	t.again = true
	if started >= 0 {
		s.chapters[started].Text = "to be started"
	}
	t.delayed(e)
	s.word(t)
}

// aboutAll: what concerns every service.
func aboutAll(kind string) bool {
	switch kind {
	case "supervisor_started", "supervisor_recovered", "spec_applied", "spec_rejected", "shutdown", "log_lost":
		return true
	}
	return false
}

// tell adds a chapter of one event, and returns which it is.
func (s *story) tell(e *ipc.Event, text string) int {
	s.chapters = append(s.chapters, chapter{
		From: e.Time, To: e.Time, Instance: e.Instance, Kind: e.Kind, Count: 1, Text: text, FirstSeq: e.Seq, LastSeq: e.Seq,
	})
	return len(s.chapters) - 1
}

func (s *story) extend(i int, e *ipc.Event) {
	s.chapters[i].To, s.chapters[i].LastSeq = e.Time, e.Seq
}

// ended: an end that nobody asked for.
func (s *story) ended(t *thread, e *ipc.Event) { s.endedAs(t, e, e.Message) }

func (s *story) endedAs(t *thread, e *ipc.Event, how string) {
	if t.ready != nil && e.Time.Sub(t.ready.Time) >= longReady {
		s.close(t)
	}
	t.ready = nil
	if t.cycle >= 0 && t.exit == how {
		s.chapters[t.cycle].Count++
		s.extend(t.cycle, e)
	} else {
		s.close(t)
		*t = thread{cycle: s.tell(e, ""), exit: how, lastSaw: t.lastSaw, revision: t.revision}
	}
	t.start = -1
	s.word(t)
}

// longReady between two ends makes them two stories, however alike they are.
const longReady = 10 * time.Minute

func (t *thread) delayed(e *ipc.Event) {
	ms, err := strconv.ParseFloat(e.Fields["delay_ms"], 64)
	if err != nil {
		return // at once
	}
	d := time.Duration(ms * float64(time.Millisecond))
	if t.delays == 0 {
		t.least = d
	}
	t.delays++
	t.least, t.most = min(t.least, d), max(t.most, d)
}

// word writes the line of a cycle anew.
func (s *story) word(t *thread) {
	c := &s.chapters[t.cycle]
	c.Text = t.exit
	if c.Count > 1 {
		c.Text += ", " + count(c.Count, "time")
	}
	least, most := delayText(t.least), delayText(t.most)
	switch {
	case t.delays == 0:
	case c.Count == 1:
		c.Text += "; started again after " + most
	case least == most:
		c.Text += ", each time started again after " + most
	default:
		c.Text += ", each time started again, after " + least + " to " + most
	}
}

// close ends the cycle of an instance; that it was ready since then is a line.
func (s *story) close(t *thread) {
	if t.ready != nil {
		s.tell(t.ready, "ready again")
	}
	t.cycle, t.start, t.ready, t.again, t.told = -1, -1, nil, false, ""
	t.least, t.most, t.delays = 0, 0, 0
}

func (s *story) breakAll() {
	for _, t := range s.inOrder() {
		s.close(t)
	}
}

// inOrder are the threads, by what they were last seen at: the same events give
// the same story.
func (s *story) inOrder() []*thread {
	ids := make([]string, 0, len(s.slots))
	for id := range s.slots {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	out := make([]*thread, len(ids))
	for i, id := range ids {
		out[i] = s.slots[id]
	}
	return out
}

// delayText is a delay to two digits or so: which of a jittered 812.4ms and
// 799.1ms it was matters to nobody.
func delayText(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return age(d)
	case d >= time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + "s"
	}
	return d.Round(time.Millisecond).String()
}
