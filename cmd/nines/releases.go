package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"nines/ipc"
	"nines/spec"
	"nines/spec/load"
	"nines/supervisor"
	"nines/supervisor/policy"
	"nines/supervisor/program"
	"nines/supervisor/release"
	"nines/supervisor/snapshot"
)

// releases takes what services deploy into the store. What cannot run here is
// refused before anything that runs is touched.
type releases struct {
	store *release.Store // nil: there is no state folder to keep them in
	log   *slog.Logger
}

// openReleases opens the store in the state folder.
func openReleases(a *app, fromSpec string, log *slog.Logger) *releases {
	r := &releases{log: log}
	dir, err := a.statePath(fromSpec)
	if err == nil {
		r.store, err = release.Open(filepath.Join(dir, "releases"), func(point string) { supervisor.Fault("release-" + point) })
	}
	if err != nil {
		log.Warn("releases are not kept: what release.path leads to is run itself, and cannot be reverted", "err", err)
	}
	return r
}

// openSnapshots opens the store of snapshots of data in the state folder; nil: there is
// none, and what has data cannot be updated.
func openSnapshots(a *app, fromSpec string, log *slog.Logger) *snapshot.Store {
	dir, err := a.statePath(fromSpec)
	if err != nil {
		return nil // openReleases has said so
	}
	store, err := supervisor.OpenSnapshots(filepath.Join(dir, "snapshots"))
	if err != nil {
		log.Warn("data cannot be kept before an update: a service with a data block is not updated", "err", err)
		return nil
	}
	return store
}

// hold keeps what is taken from now on in the store until the supervisor knows of it:
// then done is called.
func (r *releases) hold() (done func()) {
	if r.store == nil {
		return func() {}
	}
	return r.store.Hold()
}

// changingPatience is how long a file that is being written is waited for, and
// changingAgain how often it is looked at.
const (
	changingPatience = 30 * time.Second
	changingAgain    = 300 * time.Millisecond
)

// take puts what is at path, for the service svc, into the store.
func (r *releases) take(ctx context.Context, svc *spec.Service, path string) (id string, err error) {
	if r.store == nil {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	var rel release.Release
	for until := time.Now().Add(changingPatience); ; {
		rel, err = r.store.Add(ctx, path, filepath.Base(svc.Release.Path))
		if !errors.Is(err, release.ErrChanging) || time.Now().After(until) {
			break
		}
		select {
		case <-time.After(changingAgain):
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	if err != nil {
		return "", err
	}
	for _, what := range rel.Dropped {
		r.log.Warn("rights that a release had are not kept", "service", svc.Name, "what", what)
	}
	return rel.ID, r.check(svc, rel.ID, path)
}

// check says whether what the service would execute of a release can be; from is where
// that was, by which people know it.
func (r *releases) check(svc *spec.Service, id, from string) error {
	host, err := load.ThisHost()
	if err != nil {
		return nil // its start will say
	}
	path := r.store.Path(id, svc.Release.Path)
	argv, err := load.Strings(svc.Process.Command, &load.Scope{Service: svc.Name, Host: host, ReleasePath: path, ReleaseID: id})
	if err != nil || len(argv) == 0 {
		return nil // it depends on more than is known now
	}
	file, ok := r.store.Resolve(argv[0], svc.Release.Path, id)
	if !ok && argv[0] != path && !strings.HasPrefix(argv[0], path+"/") {
		return nil // it runs something else
	}
	if err := program.Check(file); err != nil {
		return fmt.Errorf("%s", strings.ReplaceAll(err.Error(), path, from))
	}
	return nil
}

// add completes the digests of a specification by those of the releases that its
// services would run.
func (r *releases) add(ctx context.Context, sp *spec.Spec, digests map[string]string) error {
	for _, svc := range sp.Services {
		if svc.Release == nil {
			continue
		}
		id, err := r.take(ctx, svc, svc.Release.Path)
		if err != nil {
			return fmt.Errorf("cannot deploy %s: %w", svc.Name, err)
		}
		digests[svc.Name] = supervisor.RevisionDigest(digests[svc.Name], id)
	}
	return nil
}

// would is add for a plan: nothing is taken. What cannot be read is left out, and
// apply says so.
func (r *releases) would(ctx context.Context, sp *spec.Spec, digests map[string]string) {
	for _, svc := range sp.Services {
		if svc.Release == nil || r.store == nil {
			continue
		}
		if id, _, err := r.store.Digest(ctx, svc.Release.Path); err == nil {
			digests[svc.Name] = supervisor.RevisionDigest(digests[svc.Name], id)
		}
	}
}

// begin is add where services start: what ran last runs again, unless the
// specification is another, or the file at a watched path is.
func (r *releases) begin(sp *spec.Spec, digests, asked map[string]string) {
	for _, svc := range sp.Services {
		if svc.Release == nil {
			continue
		}
		last := supervisor.ReleaseOf(asked[svc.Name])
		same := last != "" && asked[svc.Name] == supervisor.RevisionDigest(digests[svc.Name], last)
		if same && !svc.Release.Watch {
			digests[svc.Name] = asked[svc.Name]
			continue
		}
		id, err := r.take(context.Background(), svc, svc.Release.Path)
		if err != nil {
			r.log.Error("cannot take the release of a service: what it ran last is run", "service", svc.Name, "err", err)
			id = last
		}
		digests[svc.Name] = supervisor.RevisionDigest(digests[svc.Name], id)
	}
}

func (b *backend) Deploy(ctx context.Context, by ipc.Caller, service string, r ipc.DeployRequest) (ipc.Result, error) {
	a, err := b.change.deploy(ctx, service, r.Path, policy.Deploy{Service: service, Force: r.Force, By: caller(by)}, !r.NoWait)
	return a, err
}

// deploy makes what is at path a new revision of a service: with the specification
// that it has.
func (c *changer) deploy(ctx context.Context, service, path string, d policy.Deploy, wait bool) (ipc.Result, error) {
	c.mu.Lock()
	svc := c.spec.Service(service)
	digest := supervisor.SpecOf(c.state.Now.Digests[service])
	c.mu.Unlock()
	switch {
	case svc == nil:
		return ipc.Result{}, &ipc.Error{Code: ipc.CodeNoSuchService, Message: "cannot deploy " + quote(service) + ": there is no service of that name", Hint: `"nines status" lists them`}
	case svc.Release == nil:
		return ipc.Result{}, &ipc.Error{Code: ipc.CodeConflict, Message: "cannot deploy " + service + ": its specification has no release block", Hint: `add one: release { path = "/opt/` + service + `/` + service + `" }`}
	case c.releases.store == nil:
		return ipc.Result{}, &ipc.Error{Code: ipc.CodeConflict, Message: "cannot deploy " + service + ": there is no state folder to keep releases in", Hint: "set --state-dir"}
	}
	defer c.releases.hold()()
	id, err := c.releases.take(ctx, svc, path)
	if err != nil {
		return ipc.Result{}, &ipc.Error{Code: ipc.CodeFailed, Message: "cannot deploy " + service + ": " + err.Error(), Hint: "nothing was changed"}
	}
	d.Digest, d.Spec = supervisor.RevisionDigest(digest, id), svc
	return answer(c.sup.Deploy(ctx, d, wait))
}
