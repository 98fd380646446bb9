package supervisor

import (
	"errors"
	"os"
	"time"

	"nines/supervisor/policy"
	"nines/supervisor/proc"
)

// watchClock has the machine told whenever the wall clock is set. Where that
// cannot be seen, schedules go by the clock as it was at the start.
func (s *Supervisor) watchClock() (stop func()) {
	w, err := proc.WatchClock()
	if err != nil {
		s.log.Warn("recycle schedules do not follow when the clock is set", "err", err)
		return func() {}
	}
	go func() {
		for {
			switch err := w.Wait(); {
			case errors.Is(err, os.ErrClosed):
				return
			case err != nil:
				s.log.Warn("recycle schedules do not follow any more when the clock is set", "err", err)
				return
			}
			s.box.put(func() { s.step(policy.ClockChanged{Wall: time.Now()}) })
		}
	}()
	return func() {
		if err := w.Close(); err != nil {
			s.log.Warn("cannot close the watch of the clock", "err", err)
		}
	}
}
