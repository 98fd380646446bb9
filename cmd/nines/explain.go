package main

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nines/ipc"
)

// explainSince is how far back a timeline goes unless --since says otherwise.
const explainSince = 24 * time.Hour

// explainLines bounds a timeline for people; --json has all of it.
const explainLines = 60

func newExplainCmd(a *app) *cobra.Command {
	var asJSON bool
	var since string
	cmd := &cobra.Command{
		Use:   "explain SERVICE[/N]",
		Short: "Say why it is in this state, what led to it, and what comes next",
		Long: `Say why a service or an instance is in the state it is in, why it runs the revision
that it runs, what it waits for, what happens next and when, what to do, and what led to
it: a timeline, in which what happened again and again is one line. It is worded to go
into an incident report.`,
		Example: `  nines explain web
  nines explain web/0 --since 30d`,
		Args:              argsBetween(1, 1),
		ValidArgsFunction: a.completeTargets(true, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := parseTarget(args[0])
			if err != nil {
				return err
			}
			now := a.now()
			from := now.Add(-explainSince)
			if since != "" {
				if from, err = ipc.ParseSince(since, now); err != nil {
					return a.explain("explain", err)
				}
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			st, err := client.Status(cmd.Context())
			if err != nil {
				return a.explain("explain "+t.String(), err)
			}
			c, err := newCase(st, t, from, now)
			if err != nil {
				return a.explain("explain", err)
			}
			q := ipc.EventQuery{Since: from, Service: t.service}
			if err := client.Events(cmd.Context(), q, func(e ipc.Event) error { c.story.add(&e); return nil }); err != nil {
				return a.explain("explain "+t.String(), err)
			}
			if c.history, err = client.History(cmd.Context(), t.service); err != nil {
				return a.explain("explain "+t.String(), err)
			}
			x := c.explain()
			if x.Incidents, err = incidentsOf(cmd.Context(), client, t, x.Instance); err != nil {
				return a.explain("explain "+t.String(), err)
			}
			if asJSON {
				b, err := json.Marshal(x)
				if err != nil {
					return &failure{code: exitFailed, what: "cannot encode the output", why: err.Error(), err: err}
				}
				return a.write(append(b, '\n'))
			}
			return a.write(x.text(now, a.outColor))
		},
	}
	jsonFlag(cmd, &asJSON)
	cmd.Flags().StringVar(&since, "since", "", "the timeline begins then: a `duration` before now (10m, 30d; default 24h) or an RFC 3339 time")
	return cmd
}

// explainIncidents bounds the incidents for people.
const explainIncidents = 10

// incidentsOf are those of the service, or of one instance.
func incidentsOf(ctx context.Context, client *ipc.Client, t target, instance string) ([]ipc.Incident, error) {
	list, err := client.Incidents(ctx, t.service)
	if err != nil {
		return nil, err
	}
	out := []ipc.Incident{}
	for _, i := range list {
		if instance == "" || i.Instance == instance {
			out = append(out, i)
		}
	}
	return out, nil
}

func incidentLine(i *ipc.Incident, now time.Time) string {
	if i.End == nil {
		return clockText(i.Start, now) + " –  " + i.Instance + "  open for " + age(now.Sub(i.Start)) + ": crash loop: " + i.Cause
	}
	return clockText(i.Start, now) + " – " + clockText(*i.End, now) + "  " + i.Instance + "  " + age(i.End.Sub(i.Start)) + ": crash loop: " + i.Cause + "; " + i.Ending
}

// explanation is what `nines explain --json` prints. Times are null where they
// do not apply.
type explanation struct {
	Service   string         `json:"service"`
	Instance  string         `json:"instance"` // id; "": the whole service
	State     string         `json:"state"`
	Since     *time.Time     `json:"since"` // it is in this state, as far as the timeline tells
	Why       []string       `json:"why"`   // the nearest cause first
	Runs      []string       `json:"runs"`  // why the revision that it runs; empty where there was but one
	Next      string         `json:"next"`
	NextAt    *time.Time     `json:"next_at"`
	Advice    []advice       `json:"advice"`
	From      time.Time      `json:"from"` // where the timeline begins
	Timeline  []chapter      `json:"timeline"`
	Incidents []ipc.Incident `json:"incidents"` // all that are kept, the oldest first
}

// advice is a command to give or a thing to change, and what for.
type advice struct {
	Do  string `json:"do"`
	For string `json:"for"`
}

// text is the explanation for people.
func (x *explanation) text(now time.Time, color bool) []byte {
	var b strings.Builder
	head := firstOf(x.Instance, x.Service)
	b.WriteString(paint(color, bold, printable(head)) + " " + paint(color, stateColor(x.State), stateText(x.State)))
	if x.Since != nil {
		b.WriteString(", since " + clockText(*x.Since, now) + " (" + age(now.Sub(*x.Since)) + ")")
	}
	b.WriteString("\n\n")
	part := func(name string, lines ...string) {
		for i, l := range lines {
			if i > 0 {
				name = ""
			}
			b.WriteString(paint(color, dim, pad(name, 8)) + printable(l) + "\n")
		}
	}
	part("Why", x.Why...)
	part("Runs", x.Runs...)
	next := x.Next
	if x.NextAt != nil {
		next += " at " + clockText(*x.NextAt, now) + ", in " + soon(x.NextAt.Sub(now))
	}
	part("Next", next)
	var do []string
	width := 0
	for _, d := range x.Advice {
		width = max(width, columns(d.Do))
	}
	for _, d := range x.Advice {
		do = append(do, pad(d.Do, width)+"  "+d.For)
	}
	part("To do", do...)

	if n := len(x.Incidents); n > 0 {
		b.WriteString("\n" + paint(color, dim, "Incidents") + "\n")
		if left := n - explainIncidents; left > 0 {
			b.WriteString("  " + count(left, "earlier one") + " left out: --json has all\n")
		}
		for _, i := range x.Incidents[max(0, n-explainIncidents):] {
			b.WriteString("  " + printable(incidentLine(&i, now)) + "\n")
		}
	}

	zone, _ := now.Zone()
	b.WriteString("\n" + paint(color, dim, "Timeline from "+x.From.In(now.Location()).Format(time.DateTime)+" on, "+zone) + "\n")
	lines := x.Timeline
	if left := len(lines) - explainLines; left > 0 {
		lines = lines[left:]
		b.WriteString("  " + count(left, "earlier line") + " left out: --json has all\n")
	}
	if len(lines) == 0 {
		b.WriteString("  nothing happened\n")
	}
	when := make([]string, len(lines))
	whenWidth, whoWidth := 0, 0
	for i := range lines {
		when[i] = lines[i].when(now)
		whenWidth = max(whenWidth, columns(when[i]))
		if x.Instance == "" {
			whoWidth = max(whoWidth, columns(lines[i].Instance))
		}
	}
	for i := range lines {
		l := "  " + pad(when[i], whenWidth) + "  "
		if whoWidth > 0 {
			l += pad(printable(lines[i].Instance), whoWidth) + "  "
		}
		b.WriteString(l + printable(lines[i].Text) + "\n")
	}
	return []byte(b.String())
}

// stateText is a state as a sentence goes on with it.
func stateText(state string) string {
	switch state {
	case "backoff":
		return "is down, in backoff"
	case "failed", "completed":
		return "has " + state
	}
	return "is " + state
}

// when is the moment of a chapter, or its span.
func (c *chapter) when(now time.Time) string {
	from, to := clockText(c.From, now), clockText(c.To, now)
	if from == to {
		return from
	}
	return from + " – " + to
}

// clockText is a moment: its time, and its day unless that is now's.
func clockText(t, now time.Time) string {
	t = t.In(now.Location())
	if y, m, d := now.Date(); t.Year() == y && t.Month() == m && t.Day() == d {
		return t.Format(time.TimeOnly)
	}
	return t.Format(time.DateTime)
}
