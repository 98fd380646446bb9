package main

import (
	"context"
	"time"

	"nines/ipc"
	"nines/supervisor"
	"nines/supervisor/policy"
)

func (b *backend) History(ctx context.Context, service string) ([]ipc.Revision, error) {
	list, ok, err := b.sup.History(ctx, service)
	switch {
	case err != nil:
		return nil, ended(err)
	case !ok:
		return nil, &ipc.Error{Code: ipc.CodeNoSuchService, Message: "cannot tell the history of " + quote(service) + ": there is no service of that name", Hint: `"nines status" lists them`}
	}
	out := make([]ipc.Revision, len(list))
	for i, r := range list {
		out[i] = ipc.Revision{
			Revision: r.Number, State: string(r.State), CreatedAt: r.CreatedAt, By: r.By, Digest: r.Digest, Change: r.Change, Reason: r.Reason,
			Rollback: r.Next, Data: b.dataOf(&r),
		}
	}
	return out, nil
}

// dataOf is the copy of a revision's data. What cannot be read is left out: a restore
// will say so.
func (b *backend) dataOf(r *supervisor.RevisionInfo) *ipc.RevisionData {
	store := b.change.snapshots
	if r.Snapshot == "" || store == nil {
		return nil
	}
	snap, err := store.Get(r.Snapshot)
	if err != nil {
		return nil
	}
	return &ipc.RevisionData{Snapshot: snap.ID, TakenAt: snap.Time.Truncate(time.Second), SizeBytes: snap.Size, Restored: r.Restores}
}

func (b *backend) Rollback(ctx context.Context, by ipc.Caller, service string, r ipc.RollbackRequest) (ipc.Result, error) {
	defer b.change.releases.hold()()
	list, _, err := b.sup.History(ctx, service)
	if err != nil {
		return ipc.Result{}, ended(err)
	}
	for _, v := range list {
		if v.Number != r.Revision || v.Release == "" || b.change.releases.store == nil {
			continue
		}
		if _, err := b.change.releases.store.Verify(ctx, v.Release); err != nil {
			return ipc.Result{}, &ipc.Error{
				Code: ipc.CodeConflict, Message: "cannot roll back " + service + ": " + err.Error(),
				Hint: "deploy the file again; release.keep says how many earlier releases are kept",
			}
		}
	}
	a, err := b.sup.Do(ctx, policy.Command{
		Verb: policy.VerbRollback, Service: service, Instance: -1, Revision: r.Revision, By: caller(by),
	}, !r.NoWait)
	return answer(a, err)
}
