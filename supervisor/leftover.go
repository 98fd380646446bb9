package supervisor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"nines/supervisor/journal"
	"nines/supervisor/proc"
)

// leftoverPatience bounds how long the start waits for what a dead supervisor
// left behind to end.
const leftoverPatience = 10 * time.Second

// endLeftovers ends whatever services of an earlier supervisor on this runtime
// directory still live, before anything is started: nothing may ever run
// twice. At level core they are in our cgroups; what is not is found by its
// environment mark.
func (s *Supervisor) endLeftovers() error {
	ctx, cancel := context.WithTimeout(context.Background(), leftoverPatience)
	defer cancel()
	var errs []error
	ended := 0
	if t := s.cfg.Cgroups; t != nil {
		names, err := t.List()
		if err != nil {
			errs = append(errs, err)
		}
		for _, name := range names {
			g := t.Group(name)
			if full, err := g.Populated(); err == nil && full {
				ended++
			}
			if err := g.Kill(); err != nil {
				errs = append(errs, err)
				continue
			}
			if err := g.WaitEmpty(ctx); err != nil {
				errs = append(errs, fmt.Errorf("cannot see %s empty: %w", g.Path(), err))
				continue
			}
			if err := g.Remove(ctx); err != nil {
				errs = append(errs, err)
			}
		}
	}
	marked, err := proc.FindMarked(s.mark)
	if err != nil {
		errs = append(errs, err)
	}
	seen := map[string]bool{}
	for _, m := range marked {
		if seen[m.Mark] {
			continue // one tree a mark
		}
		seen[m.Mark] = true
		ended++
		t := proc.Tree{Mark: m.Mark, KeeperPID: s.cfg.KeeperPID}
		if err := t.Kill(ctx); err != nil {
			errs = append(errs, fmt.Errorf("cannot end %s: %w", m.Mark, err))
		}
	}
	if ended > 0 {
		text := fmt.Sprintf("the supervisor before this one ended without a shutdown; what %d instances of it left was ended, and all is started again", ended)
		s.note(journal.Entry{Kind: journal.KindRecovered, Text: text})
		s.log.Warn(text)
	}
	return errors.Join(errs...)
}
