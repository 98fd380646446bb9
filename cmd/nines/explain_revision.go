package main

import (
	"slices"
	"strconv"

	"nines/ipc"
)

// leftShown bounds the revisions of which it is said why they were left.
const leftShown = 3

// runs says why the service runs the revision that it runs: the update that is under
// way, or who brought the current one; then why each was left that came after it, the
// newest first. There is nothing to it where no other came yet.
func (c *explained) runs() []string {
	lines := []string{}
	if len(c.history) < 2 {
		return lines
	}
	u := c.svc.Update
	from := "revision " + strconv.Itoa(u.From)
	if c.in != nil && c.updating() != "" {
		lines = append(lines, c.in.ID+" runs revision "+strconv.Itoa(c.in.Revision))
	}
	switch u.State {
	case "canary":
		lines = append(lines, c.named(u.To)+" is tried: the canary runs it, the others "+from)
	case "rolling":
		lines = append(lines, c.named(u.To)+" replaces "+from+": its canary stayed healthy, the others follow")
	case "reverting":
		lines = append(lines, c.named(u.To)+" comes back in place of "+from)
	default:
		lines = append(lines, c.named(c.svc.Revision))
	}
	return append(lines, c.left()...)
}

// left is why revisions that came after the one that runs were left, the newest first.
func (c *explained) left() (why []string) {
	for _, r := range c.history {
		if r.Revision > c.svc.Revision && r.Reason != "" && len(why) < leftShown {
			why = append(why, r.Reason)
		}
	}
	return why
}

// named is a revision, with when it first came, by whom, and what it changed.
func (c *explained) named(number int) string {
	name := "revision " + strconv.Itoa(number)
	i := slices.IndexFunc(c.history, func(r ipc.Revision) bool { return r.Revision == number })
	if i < 0 {
		return name
	}
	r := &c.history[i]
	by := r.By
	switch by {
	case "":
		by = "the specification"
	case "watch":
		by = "a new file at release.path"
	}
	what := ", changed: " + r.Change
	switch r.Change {
	case "", "unknown":
		what = ""
	case "first":
		what = ", the first"
	}
	return name + " (" + clockText(r.CreatedAt, c.now) + ", by " + by + what + ")"
}

// updating is what happens next in an update; "": there is none.
func (c *explained) updating() string {
	switch c.svc.Update.State {
	case "canary":
		return "the others follow when the canary has been healthy for update.min_healthy; if it fails, it is reverted"
	case "rolling":
		return "the next instance follows when this one has been healthy for update.min_healthy; if one fails, all is reverted"
	case "reverting":
		return "the instances that ran the other revision are replaced, one after the other"
	}
	return ""
}
