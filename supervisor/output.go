package supervisor

import (
	"context"
	"errors"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"nines/spec"
	"nines/supervisor/journal"
	"nines/supervisor/logs"
	"nines/supervisor/notify"
)

// output says how services' output is kept where the spec leaves it open.
type output struct {
	dir    string // "": in no file
	stdout bool   // on nines-log's stdout too, whatever log.to says
}

// settings are those of one stream of the output of instance index of a service,
// as nines-log reads them.
func (o output) settings(service string, k *outputKept, index int, stream string) logs.Settings {
	l := &k.log
	return logs.Settings{
		Service: service, Instance: service + "/" + strconv.Itoa(index), Stream: stream,
		Dir: o.dir, MaxSize: l.MaxSize, Keep: l.Keep, Compress: l.Compress, Rate: l.Rate, Format: l.Format,
		ToFile: o.dir != "" && slices.Contains(l.To, "file"), ToStdout: o.stdout || slices.Contains(l.To, "stdout"),
		Matches: k.matches,
	}
}

// streams are the pipes that an instance of svc gets, stdout's first.
func streams(svc *spec.Service) []string {
	if svc.Log.Streams == "split" {
		return []string{logs.Out, logs.Err}
	}
	return []string{logs.Out}
}

// pipeName is what the keeper calls the pipe of that stream of an incarnation.
func pipeName(incarnation, stream string) string { return incarnation + ":" + stream }

// outputKept says how the output of a service is kept, and which of its lines are counted.
type outputKept struct {
	log     spec.Log
	matches []logs.Match
}

func outputOf(svc *spec.Service) *outputKept {
	k := &outputKept{log: svc.Log}
	for _, p := range svc.LogPatterns() {
		k.matches = append(k.matches, logs.Match{Pattern: p.Pattern, Within: p.Within})
	}
	return k
}

// logBlocks say that of the services of the specification that runs. The
// spawner holds mu from reading one until the keeper has the pipe that it is for,
// and relog from changing one until the keeper was told: so nothing is told after
// what is newer.
type logBlocks struct {
	mu        sync.Mutex
	byService map[string]*outputKept
}

func newLogBlocks(sp *spec.Spec) *logBlocks {
	b := &logBlocks{}
	b.set(sp)
	return b
}

// set takes what sp says, and returns the services of which it differs from what
// was said before.
func (b *logBlocks) set(sp *spec.Spec) (changed map[string]bool) {
	old := b.byService
	b.byService, changed = make(map[string]*outputKept, len(sp.Services)), map[string]bool{}
	for _, svc := range sp.Services {
		now := outputOf(svc)
		b.byService[svc.Name] = now
		if was := old[svc.Name]; was == nil || !reflect.DeepEqual(was, now) {
			changed[svc.Name] = true
		}
	}
	return changed
}

// of is how the output of svc is kept; as it says itself, where the specification
// has svc no more.
func (b *logBlocks) of(svc *spec.Service) *outputKept {
	if k := b.byService[svc.Name]; k != nil {
		return k
	}
	return outputOf(svc)
}

// relog gives what runs the log blocks and patterns of sp, in place, where they are others;
// streams alone stay as they are until the next start. The loop calls it.
func (s *Supervisor) relog(sp *spec.Spec) {
	b := s.spawner.logs
	b.mu.Lock()
	defer b.mu.Unlock()
	changed := b.set(sp)
	if len(changed) == 0 {
		return
	}
	var messages [][]byte
	var m []byte
	fields := 0
	for _, in := range s.live {
		if in.svc == nil || !changed[in.svc.Name] {
			continue
		}
		// Which pipes it was given, it was given by an earlier spec; the keeper
		// passes over names that it does not have.
		for _, stream := range []string{logs.Out, logs.Err} {
			lines := notify.KeyFDName + "=" + pipeName(in.name, stream) + "\n" +
				notify.KeyLog + "=" + s.spawner.resolve.output.settings(in.svc.Name, b.of(in.svc), in.index, stream).Encode() + "\n"
			if len(m)+len(lines) > notify.MaxMessage || fields+2 > notify.MaxFields {
				messages, m, fields = append(messages, m), nil, 0
			}
			m, fields = append(m, lines...), fields+2
		}
	}
	if len(m) > 0 {
		messages = append(messages, m)
	}
	s.tell(messages)
}

// heard is which notices of nines-log are in the journal: all up to number seq
// of that epoch. The keeper holds it, so that a successor tells nothing twice.
type heard struct {
	epoch string // "": of none, or of one that ended in order
	seq   uint64
}

func (h heard) String() string {
	if h.epoch == "" {
		return ""
	}
	return h.epoch + " " + strconv.FormatUint(h.seq, 10)
}

func parseHeard(value string) (heard, bool) {
	epoch, seq, ok := strings.Cut(value, " ")
	n, err := strconv.ParseUint(seq, 10, 64)
	return heard{epoch, n}, ok && err == nil && epoch != ""
}

// How long listenToLogs waits before it looks for the next nines-log.
const (
	logsAgain     = 50 * time.Millisecond
	logsAgainMost = 2 * time.Second
)

// listenToLogs puts into the journal what nines-log has to tell, through all of
// its lives, until ctx ends.
func (s *Supervisor) listenToLogs(ctx context.Context) {
	socket := filepath.Join(s.cfg.RuntimeDir, logs.SocketName)
	was := s.cfg.Past.Heard
	pause := logsAgain
	for ctx.Err() == nil {
		err := logs.Notices(ctx, socket, was.epoch, was.seq, logs.Hearing{
			Epoch: func(epoch string) error {
				pause = logsAgain
				if epoch != was.epoch {
					died := was.epoch != ""
					was = heard{epoch: epoch}
					s.hear(was, died, nil)
				}
				s.hearsLogs.Store(true)
				return nil
			},
			Notice: func(n logs.Notice) error {
				missed := n.Seq - was.seq - 1
				was.seq = n.Seq
				if missed > 0 {
					s.hear(was, false, &logs.Notice{Text: strconv.FormatUint(missed, 10) + " reports about lost lines were lost: there were too many"})
				}
				s.hear(was, false, &n)
				return nil
			},
			Count: func(c logs.Count) error {
				epoch := was.epoch
				s.box.put(func() { s.counted(epoch, &c) })
				return nil
			},
		})
		s.hearsLogs.Store(false)
		if err == nil && was.epoch != "" {
			// It said all, and lost nothing.
			was = heard{}
			s.hear(was, false, nil)
		}
		if err != nil && !errors.Is(err, logs.ErrNotRunning) && !errors.Is(err, logs.ErrInterrupted) && ctx.Err() == nil && pause == logsAgainMost {
			s.log.Warn("cannot hear nines-log: what it loses is not in the events", "err", err)
		}
		select {
		case <-time.After(pause):
			pause = min(2*pause, logsAgainMost)
		case <-ctx.Done():
		}
	}
}

// hear has the loop record how far was heard, and what.
func (s *Supervisor) hear(h heard, died bool, n *logs.Notice) {
	s.box.put(func() {
		s.values = append(s.values, keyHeard+" "+h.String())
		if died {
			s.note(journal.Entry{Kind: journal.KindLost, Text: "nines-log ended unexpectedly: of each instance's output, what it had read and not written yet, 64 KiB at most, may be lost"})
		}
		if n != nil {
			s.note(journal.Entry{Kind: journal.KindLost, Service: n.Service, Instance: n.Instance, Text: n.Text})
		}
	})
}
