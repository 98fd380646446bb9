package main

import (
	"context"
	"errors"
	"maps"

	"nines/ipc"
	"nines/supervisor"
	"nines/supervisor/journal"
	"nines/supervisor/pathwatch"
	"nines/supervisor/policy"
	"nines/supervisor/release"
)

// watchReleases deploys what appears at release.path, where the specification says
// watch, until stop is called.
func (c *changer) watchReleases() (stop func()) {
	if c.releases.store == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	seen := make(chan pathwatch.Change)
	w, err := pathwatch.New(pathwatch.Settle, func(ch pathwatch.Change) {
		select {
		case seen <- ch:
		case <-ctx.Done():
		}
	})
	if err != nil {
		cancel()
		c.log.Error("cannot watch release.path: a new file is only seen by nines deploy and nines apply", "err", err)
		return func() {}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case ch := <-seen:
				c.releaseSeen(ctx, w, ch)
			case <-ctx.Done():
				return
			}
		}
	}()
	c.mu.Lock()
	c.watcher = w
	c.watchAgain()
	c.mu.Unlock()
	return func() {
		c.mu.Lock()
		c.watcher = nil
		c.mu.Unlock()
		cancel()
		// What it could report concerns nobody any more.
		_ = w.Close()
		<-ended
	}
}

// watchAgain watches what the specification says now; mu is held.
func (c *changer) watchAgain() {
	if c.watcher == nil {
		return
	}
	watched := map[string]string{}
	for _, svc := range c.spec.Services {
		if svc.Release != nil && svc.Release.Watch {
			watched[svc.Name] = svc.Release.Path
		}
	}
	for name, path := range watched {
		if c.watched[name] != path {
			c.watcher.Watch(name, path, "")
		}
	}
	for name := range c.watched {
		if watched[name] == "" {
			c.watcher.Forget(name)
		}
	}
	c.watched = watched
}

// releaseSeen deploys what is at the path of a service now. What cannot run is
// refused, and what runs is not touched.
func (c *changer) releaseSeen(ctx context.Context, w *pathwatch.Watcher, ch pathwatch.Change) {
	if ch.Err != nil {
		c.log.Error("cannot watch a release any more", "service", ch.Key, "err", ch.Err)
		return
	}
	c.mu.Lock()
	svc := c.spec.Service(ch.Key)
	digest := supervisor.SpecOf(c.state.Now.Digests[ch.Key])
	c.mu.Unlock()
	if svc == nil || svc.Release == nil || !svc.Release.Watch {
		return
	}
	refused := func(why string) {
		c.sup.Note(journal.Entry{Kind: journal.KindDeployRefused, Service: svc.Name, Text: "what is at " + svc.Release.Path + " is not deployed: " + why})
	}
	defer c.releases.hold()()
	id, err := c.releases.take(ctx, svc, svc.Release.Path)
	switch {
	case errors.Is(err, release.ErrChanging):
		w.Again(ch.Key)
		return
	case ctx.Err() != nil:
		return
	case err != nil:
		refused(err.Error())
		return
	}
	supervisor.Fault("release-taken")
	full := supervisor.RevisionDigest(digest, id)
	c.mu.Lock()
	now := c.spec.Service(svc.Name)
	if now != svc || c.state.Now.Digests[svc.Name] == full {
		c.mu.Unlock()
		return // it is what was seen last; or another specification came, and has looked itself
	}
	digests := maps.Clone(c.state.Now.Digests)
	digests[svc.Name] = full
	c.state.Now.Digests = digests
	_, err = c.keep(&c.state)
	c.mu.Unlock()
	if err != nil {
		c.log.Error(err.Error())
	}
	supervisor.Fault("release-kept")
	_, err = answer(c.sup.Deploy(ctx, policy.Deploy{Service: svc.Name, Digest: full, Spec: svc, Asked: true, By: "watch"}, false))
	var no *ipc.Error
	if errors.As(err, &no) {
		refused(no.Message)
	} else if err != nil && ctx.Err() == nil {
		c.log.Error("cannot deploy what was seen", "service", svc.Name, "err", err)
	}
}
