package supervisor

import (
	"testing"
	"testing/synctest"
	"time"
)

// Memory is given back once after much work, when nothing is being started.
func TestTrim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Supervisor{box: newMailbox()}
		turn := func() { // the loop's, after a pause
			time.Sleep(2 * trimPause)
			synctest.Wait()
			s.box.run()
			synctest.Wait()
		}
		s.worked(trimWork - 1)
		if turn(); s.work != trimWork-1 {
			t.Errorf("%d: given back for little", s.work)
		}
		s.inFlight = 1
		s.worked(1)
		if turn(); s.work != trimWork {
			t.Errorf("%d: given back amid starts", s.work)
		}
		s.inFlight = 0
		if turn(); s.work != 0 {
			t.Errorf("%d: not given back", s.work)
		}
		s.worked(trimWork)
		if turn(); s.work != 0 {
			t.Errorf("%d: given back once only", s.work)
		}
	})
}
