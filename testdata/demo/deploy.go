package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"syscall"
)

// deploy copies a version that panics over the one that serves, while clients ask
// without pause: it is tried beside the others, found bad and taken back, and
// nobody notices.
func (d *demo) deploy(ctx context.Context) error {
	if err := d.close(false); err != nil { // what followed the one before
		return err
	}
	// Else it would tell again what happened before; the last of two values counts.
	d.env = append(d.env, "NINES_STATE_DIR="+filepath.Join(d.dir, "state-2"))
	shop := filepath.Join(d.dir, "shop")
	if err := d.copy(ctx, d.web, shop); err != nil {
		return err
	}
	if err := d.up(ctx, "deploy.hcl"); err != nil {
		return err
	}
	st, err := d.until(ctx, "shop runs", func(st status) bool { return st.find("shop").ready(3) })
	if err != nil {
		return err
	}
	before := st.find("shop")
	socket := filepath.Join(d.dir, "shop.sock")
	p, err := page(ctx, socket)
	if err != nil {
		return err
	}
	d.shell("curl --unix-socket shop.sock http://shop/", p.raw)
	d.ok("version 1 serves, with three instances at one socket; three clients begin to ask without pause")
	answered := ask(ctx, socket, socket, socket)
	from := d.heard()
	if err := d.copy(ctx, d.web2, shop); err != nil {
		return err
	}
	_, from, err = d.await(ctx, from, "the new file was seen", func(e event) bool { return e.Service == "shop" && e.Kind == "update_started" })
	if err != nil {
		return err
	}
	crashes := 0
	back, from, err := d.await(ctx, from, "it was reverted", func(e event) bool {
		if e.Kind == "exited" && e.Instance != "" {
			crashes++
		}
		return e.Service == "shop" && e.Kind == "rollback"
	})
	if err != nil {
		return err
	}
	if _, _, err = d.await(ctx, from, "the revert is done", func(e event) bool { return e.Service == "shop" && e.Kind == "update_done" }); err != nil {
		return err
	}
	st, err = d.until(ctx, "shop runs version 1", func(st status) bool {
		s := st.find("shop")
		return s.ready(3) && s.Update.State == "idle"
	})
	if err != nil {
		return err
	}
	n, failed, err := answered()
	if err != nil || failed > 0 {
		return fmt.Errorf("%d of %d requests failed, the first: %w", failed, n+failed, err)
	}
	after := st.find("shop")
	if after.Revision != before.Revision || crashes == 0 {
		return fmt.Errorf("revision %d runs, %d did before; the new one ended %d times", after.Revision, before.Revision, crashes)
	}
	for i, in := range after.Instances {
		if in.PID != before.Instances[i].PID {
			return fmt.Errorf("%s was touched: pid %d, now %d", in.ID, before.Instances[i].PID, in.PID)
		}
	}
	if p, err = page(ctx, socket); err != nil {
		return err
	}
	if p.Version != 1 {
		return fmt.Errorf("version %d answers: %s", p.Version, p.raw)
	}
	d.ok("version 2 panicked %d times under its canary; %s", crashes, back.Message)
	d.ok("version 1 never left: the same three processes")
	d.ok("%d requests answered meanwhile, %d failed", n, failed)
	if err := d.why(ctx); err != nil {
		return err
	}
	if err := d.close(false); err != nil {
		return err
	}
	if d.endError != nil {
		return fmt.Errorf("nines up ended with an error: %w", d.endError)
	}
	for pid, id := range d.seen {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("process %d of %s is still there: %w", pid, id, err)
		}
	}
	return nil
}

// why shows the history, which must name the version that was reverted, and why.
func (d *demo) why(ctx context.Context) error {
	out, err := d.run(ctx, "history", "shop", "--json")
	if err != nil {
		return err
	}
	var list []revision
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return fmt.Errorf("cannot read the history: %w", err)
	}
	if len(list) != 2 || list[0].State != "bad" || list[0].By != "watch" || list[0].Reason == "" || list[1].State != "current" {
		return fmt.Errorf("the history does not say what happened: %s", out)
	}
	return d.show(ctx, "history", "shop")
}

// copy is cp: over the file that is there.
func (d *demo) copy(ctx context.Context, from, to string) error {
	d.shell("cp "+filepath.Base(from)+" "+filepath.Base(to), "")
	if out, err := exec.CommandContext(ctx, "cp", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("cannot copy %s: %w: %s", from, err, out)
	}
	return nil
}
