package ipc

import (
	"context"
	"sync"
	"time"
)

// share lets all who ask at the same time have one answer: however many ask,
// one is made at a time, and nobody is given one that was begun before he asked,
// unless he is content with an older one.
type share[T any] struct {
	make func(context.Context) (T, error) // must not panic: nobody would catch it

	mu      sync.Mutex
	keep    bool     // somebody was content with an older one since the last
	last    *made[T] // the newest, if it has no error and is worth its memory
	current *made[T] // being made; nil: none
	next    *made[T] // not begun; nil: nobody waits for it
	running bool
}

type made[T any] struct {
	done  chan struct{}
	begun time.Time
	value T
	err   error
}

func newShare[T any](fn func(context.Context) (T, error)) *share[T] {
	return &share[T]{make: fn}
}

// get returns an answer that was begun at most age before now.
func (s *share[T]) get(ctx context.Context, age time.Duration) (T, error) {
	s.mu.Lock()
	s.keep = s.keep || age > 0
	if s.last != nil && age > 0 && time.Since(s.last.begun) < age {
		m := s.last
		s.mu.Unlock()
		return m.value, nil
	}
	m := s.next
	if s.current != nil && age > 0 && time.Since(s.current.begun) < age {
		m = s.current
	} else if m == nil {
		m = &made[T]{done: make(chan struct{})}
		s.next = m
	}
	if !s.running {
		s.running = true
		// A goroutine of its own: who asked first may leave first.
		go s.run()
	}
	s.mu.Unlock()
	select {
	case <-m.done:
		return m.value, m.err
	case <-ctx.Done():
		var zero T
		return zero, ctx.Err()
	}
}

func (s *share[T]) run() {
	for {
		s.mu.Lock()
		m := s.next
		s.next = nil
		if m == nil {
			s.running = false
			s.mu.Unlock()
			return
		}
		m.begun = time.Now()
		s.current = m
		s.mu.Unlock()
		m.value, m.err = s.make(context.Background())
		s.mu.Lock()
		if s.last = nil; m.err == nil && s.keep {
			s.last = m
		}
		s.keep, s.current = false, nil
		s.mu.Unlock()
		close(m.done)
	}
}
