// Package schedule makes attempts again and again, each at its times, by a
// bounded number of workers. It knows nothing of what is attempted.
//
// # The contract
//
//   - Of one Job there is never more than one attempt under way.
//   - An attempt is due First after Add, then every Interval, counted from when the
//     one before was due and not from when it began: the grid of times of a Job
//     stays, so that jobs which were held up together do not go on together.
//     Where an attempt is still under way when the next is due, or was held up for
//     longer than Interval, those times are passed over.
//   - Attempts that are due at once begin in the order in which they were due, and
//     no more at a time than there are workers. Do is told how late it is: an
//     attempt that hangs holds one worker until it returns, and if all are held,
//     all others are late and can say so.
//   - After Remove no attempt begins, and the context of one under way is canceled.
//     Whoever must not hear of that one any more says so by a token of his own.
//
// There is one heap of due times and one timer; workers are goroutines that live
// while something is due.
package schedule

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// Job is something that is attempted again and again. It belongs to the
// Scheduler from Add to Remove, and is added once.
type Job struct {
	First    time.Duration // from Add to the first attempt
	Interval time.Duration // > 0
	// Do makes one attempt, which is late by so much. It ends soon after ctx does.
	Do func(ctx context.Context, late time.Duration)

	due     time.Time
	pos     int // in the heap; -1: not in it
	removed bool
	cancel  context.CancelFunc // of the attempt under way; nil: none is
}

// Scheduler is a set of jobs and their workers. Its methods may be called from
// any goroutine.
type Scheduler struct {
	workers int

	mu     sync.Mutex
	heap   jobs
	ready  []*Job // due, and waiting for a worker
	active map[*Job]bool
	busy   int // workers
	closed bool
	wake   chan struct{}
	idle   sync.WaitGroup
}

// New makes a scheduler with at most so many attempts under way at a time.
func New(workers int) *Scheduler {
	return &Scheduler{workers: workers, active: map[*Job]bool{}, wake: make(chan struct{}, 1)}
}

// Add begins a job. After Close it does nothing.
func (s *Scheduler) Add(j *Job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	j.due = time.Now().Add(j.First)
	j.pos = -1
	heap.Push(&s.heap, j)
	if j.pos == 0 {
		s.poke()
	}
}

// Remove ends a job. It does not wait for an attempt under way.
func (s *Scheduler) Remove(j *Job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j.removed = true
	if j.pos >= 0 && j.pos < len(s.heap) && s.heap[j.pos] == j {
		heap.Remove(&s.heap, j.pos)
	}
	if j.cancel != nil {
		j.cancel()
	}
}

// Close ends all jobs, and returns when no attempt is under way; the contexts of
// those that are, are canceled.
func (s *Scheduler) Close() {
	s.mu.Lock()
	s.closed = true
	s.heap, s.ready = nil, nil
	for j := range s.active {
		j.cancel()
	}
	s.poke()
	s.mu.Unlock()
	s.idle.Wait()
}

func (s *Scheduler) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run makes attempts until Close.
func (s *Scheduler) Run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return
		}
		now := time.Now()
		for len(s.heap) > 0 && !s.heap[0].due.After(now) {
			j, _ := heap.Pop(&s.heap).(*Job) // it holds nothing else
			s.ready = append(s.ready, j)
		}
		for n := min(len(s.ready), s.workers-s.busy); n > 0; n-- {
			s.busy++
			s.idle.Add(1)
			go s.work()
		}
		next := time.Hour
		if len(s.heap) > 0 {
			next = s.heap[0].due.Sub(now)
		}
		s.mu.Unlock()
		timer.Reset(next)
		select {
		case <-timer.C:
		case <-s.wake:
		}
	}
}

// work makes attempts for as long as some wait.
func (s *Scheduler) work() {
	defer s.idle.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		j := s.take()
		if j == nil {
			s.busy--
			return
		}
		ctx, cancel := context.WithCancel(context.Background())
		j.cancel, s.active[j] = cancel, true
		late := time.Since(j.due)
		s.mu.Unlock()
		j.Do(ctx, late)
		cancel()
		s.mu.Lock()
		j.cancel = nil
		delete(s.active, j)
		s.again(j)
	}
}

// take is the next job whose attempt is to begin; nil: none waits.
func (s *Scheduler) take() *Job {
	for len(s.ready) > 0 {
		j := s.ready[0]
		s.ready[0] = nil
		if s.ready = s.ready[1:]; len(s.ready) == 0 {
			s.ready = nil
		}
		if !j.removed {
			return j
		}
	}
	return nil
}

// again has the next attempt of j come at the next of its times.
func (s *Scheduler) again(j *Job) {
	if j.removed || s.closed {
		return
	}
	j.due = j.due.Add(j.Interval)
	if behind := time.Since(j.due); behind > 0 {
		j.due = j.due.Add((behind + j.Interval - 1) / j.Interval * j.Interval)
	}
	heap.Push(&s.heap, j)
	if j.pos == 0 {
		s.poke()
	}
}

// jobs is a heap by due time.
type jobs []*Job

func (h jobs) Len() int           { return len(h) }
func (h jobs) Less(i, k int) bool { return h[i].due.Before(h[k].due) }
func (h jobs) Swap(i, k int) {
	h[i], h[k] = h[k], h[i]
	h[i].pos, h[k].pos = i, k
}

// Push is heap.Interface's.
func (h *jobs) Push(x any) {
	j, _ := x.(*Job) // it is given nothing else
	j.pos = len(*h)
	*h = append(*h, j)
}

// Pop is heap.Interface's.
func (h *jobs) Pop() any {
	last := len(*h) - 1
	j := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	j.pos = -1
	return j
}

// Phase is a share of an interval, in [0, 1), that belongs to a name: thousands of
// jobs of one interval are spread evenly, and each keeps its place over restarts.
func Phase(name string) float64 {
	h := uint64(14695981039346656037) // FNV-1a
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9 // splitmix64's finalizer
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return float64((h^h>>31)>>11) / (1 << 53)
}
