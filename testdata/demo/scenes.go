package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptrace"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// find gives a service of a status.
func (st status) find(name string) service {
	for _, s := range st.Services {
		if s.Name == name {
			return s
		}
	}
	return service{}
}

// ready says whether n instances are.
func (s service) ready(n int) bool {
	for _, i := range s.Instances {
		if i.State != "ready" {
			return false
		}
	}
	return s.State == "running" && len(s.Instances) == n
}

// start waits until everything is up, and looks at the order in which it came.
func (d *demo) start(ctx context.Context) error {
	_, err := d.until(ctx, "migrate is completed and web runs", func(st status) bool {
		return st.find("migrate").State == "completed" && st.find("web").ready(3)
	})
	if err != nil {
		return err
	}
	done, after, err := d.await(ctx, 0, "migrate exited", func(e event) bool { return e.Service == "migrate" && e.Kind == "exited" })
	if err != nil {
		return err
	}
	d.mu.Lock()
	for _, e := range d.events[:after] {
		if e.Service == "web" && e.Kind == "starting" {
			err = fmt.Errorf("%s started before migrate, which it needs, had completed", e.Instance)
		}
	}
	d.mu.Unlock()
	if err != nil {
		return err
	}
	first, _, err := d.await(ctx, after, "web starts", func(e event) bool { return e.Service == "web" && e.Kind == "starting" })
	if err != nil {
		return err
	}
	d.ok("web waited for migrate: started %s after it was done", round(first.Time.Sub(done.Time)))
	return d.show(ctx, "status")
}

// show runs a command for its output's sake. On a terminal it prints there
// itself, as it would for anybody.
func (d *demo) show(ctx context.Context, args ...string) error {
	text := "nines " + strings.Join(args, " ")
	if !d.colour {
		out, err := d.run(ctx, args...)
		if err != nil {
			return err
		}
		d.shell(text, align(out))
		return nil
	}
	d.shell(text, "")
	cmd := exec.CommandContext(ctx, d.nines, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = d.env, os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", text, err)
	}
	return nil
}

// align makes columns of what nines separates by tabs in a pipe.
func align(s string) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	// A strings.Builder takes everything.
	_, _ = io.WriteString(w, s)
	_ = w.Flush()
	return b.String()
}

// serve reads each instance's page.
func (d *demo) serve(ctx context.Context) error {
	st, err := d.until(ctx, "web runs", func(st status) bool { return st.find("web").ready(3) })
	if err != nil {
		return err
	}
	for _, i := range st.find("web").Instances {
		addr, err := d.address(ctx, i)
		if err != nil {
			return err
		}
		p, err := page(ctx, addr)
		if err != nil {
			return err
		}
		d.shell("curl http://"+addr, p.raw)
		if p.Instance != i.ID || p.PID != i.PID {
			return fmt.Errorf("the page at %s is from %s, pid %d; nines says %s, pid %d", addr, p.Instance, p.PID, i.ID, i.PID)
		}
	}
	d.ok("three instances, three ports, each process the one that nines names")
	lines, err := d.logs(ctx, "web")
	if err != nil {
		return err
	}
	for _, l := range lines {
		if !strings.HasPrefix(l.Instance, "web/") {
			return fmt.Errorf("the logs of web hold a line of %s: %q", l.Instance, l.Line)
		}
	}
	return d.show(ctx, "logs", "-n", "1", "web")
}

var listening = regexp.MustCompile(`msg=listening .*addr=(\S+) pid=(\d+)`)

// address reads from the logs where an instance listens. The line may come a
// moment after the process.
func (d *demo) address(ctx context.Context, i instance) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		lines, err := d.logs(ctx, i.ID)
		if err != nil {
			return "", err
		}
		for _, l := range lines {
			if m := listening.FindStringSubmatch(l.Line); m != nil && m[2] == fmt.Sprint(i.PID) {
				return m[1], nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", fmt.Errorf("cannot find in the logs where %s (pid %d) listens", i.ID, i.PID)
		}
	}
}

// kill ends web/1 as the kernel would on a crash, while the others are asked
// without pause.
func (d *demo) kill(ctx context.Context) error {
	st, err := d.until(ctx, "web runs", func(st status) bool { return st.find("web").ready(3) })
	if err != nil {
		return err
	}
	before := st.find("web").Instances
	victim := before[1]
	var others []string
	for _, i := range []int{0, 2} {
		addr, err := d.address(ctx, before[i])
		if err != nil {
			return err
		}
		others = append(others, addr)
	}
	answered := ask(ctx, others...)
	from, at := d.heard(), time.Now()
	d.shell(fmt.Sprintf("kill -9 %d   # %s", victim.PID, victim.ID), "")
	if err := syscall.Kill(victim.PID, syscall.SIGKILL); err != nil {
		return fmt.Errorf("cannot kill %s: %w", victim.ID, err)
	}
	exited, from, err := d.await(ctx, from, "web/1 exited", func(e event) bool { return e.Instance == victim.ID && e.Kind == "exited" })
	if err != nil {
		return err
	}
	ready, _, err := d.await(ctx, from, "web/1 is ready again", func(e event) bool { return e.Instance == victim.ID && e.Kind == "ready" })
	if err != nil {
		return err
	}
	st, err = d.until(ctx, "web runs again", func(st status) bool { return st.find("web").ready(3) })
	if err != nil {
		return err
	}
	after := st.find("web").Instances
	addr, err := d.address(ctx, after[1])
	if err != nil {
		return err
	}
	p, err := page(ctx, addr)
	if err != nil {
		return err
	}
	if p.PID == victim.PID || p.PID != after[1].PID || after[1].Restarts != victim.Restarts+1 {
		return fmt.Errorf("web/1 was pid %d; now the page says %d, nines says %d and %d restarts", victim.PID, p.PID, after[1].PID, after[1].Restarts)
	}
	d.ok("seen after %s, ready again after %s (of which 250 ms are its restart delay)", round(exited.Time.Sub(at)), round(ready.Time.Sub(at)))
	d.ok("web/1 is pid %d now, was %d; its page answers", p.PID, victim.PID)
	for _, i := range []int{0, 2} {
		if after[i].PID != before[i].PID {
			return fmt.Errorf("%s was restarted too: pid %d, now %d", before[i].ID, before[i].PID, after[i].PID)
		}
	}
	n, failed, err := answered()
	if err != nil {
		return fmt.Errorf("a replica failed %d times while web/1 was away: %w", failed, err)
	}
	d.ok("web/0 and web/2 answered all %d requests meanwhile", n)
	return d.show(ctx, "status", "web")
}

// loop measures the delays of the crash-looper from its events.
func (d *demo) loop(ctx context.Context) error {
	if _, _, err := d.await(ctx, 0, "flaky is held", func(e event) bool { return e.Service == "flaky" && e.Kind == "held" }); err != nil {
		return err
	}
	var delays []time.Duration
	from := 0
	for range 4 {
		exited, next, err := d.await(ctx, from, "flaky exited", func(e event) bool { return e.Service == "flaky" && e.Kind == "exited" })
		if err != nil {
			return err
		}
		started, next, err := d.await(ctx, next, "flaky starts again", func(e event) bool { return e.Service == "flaky" && e.Kind == "starting" })
		if err != nil {
			return err
		}
		from, delays = next, append(delays, started.Time.Sub(exited.Time))
	}
	for i, got := range delays {
		want := 200 * time.Millisecond << i
		d.say("", fmt.Sprintf("  restart %d: waited %s (spec: %s)", i+1, round(got), want))
		// Events carry wall-clock times of two moments just beside the delay.
		if got < want-5*time.Millisecond || got > want+time.Second {
			return fmt.Errorf("restart %d of flaky came after %s, the spec says %s", i+1, got, want)
		}
	}
	st, err := d.until(ctx, "flaky is held", func(st status) bool { return st.find("flaky").State == "held" })
	if err != nil {
		return err
	}
	if !st.find("web").ready(3) {
		return errors.New("the crash-looper took web with it")
	}
	d.ok("after 5 failures flaky is held: tried every 2 s, and said so; web never noticed")
	return d.show(ctx, "status")
}

// shutdown ends everything while a request is being worked on.
func (d *demo) shutdown(ctx context.Context) error {
	st, err := d.until(ctx, "web runs", func(st status) bool { return st.find("web").ready(3) })
	if err != nil {
		return err
	}
	addr, err := d.address(ctx, st.find("web").Instances[0])
	if err != nil {
		return err
	}
	type reply struct {
		body string
		err  error
	}
	slow, sent := make(chan reply, 1), make(chan struct{})
	began := time.Now()
	go func() {
		trace := &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { close(sent) }}
		body, err := get(httptrace.WithClientTrace(ctx, trace), addr, "/work?for=1500ms")
		slow <- reply{body, err}
	}()
	select {
	case <-sent:
	case r := <-slow:
		return fmt.Errorf("cannot send the slow request: %w", r.err)
	}
	// Connections are accepted in order: once this one is answered, that one is
	// being worked on and not just waiting in the kernel.
	if _, err := page(ctx, addr); err != nil {
		return err
	}
	d.shell("curl http://"+addr+"/work?for=1500ms &", "")
	if err := d.show(ctx, "shutdown"); err != nil {
		return err
	}
	got := <-slow
	if got.err != nil {
		return fmt.Errorf("the request in flight was lost: %w", got.err)
	}
	if got.body != "done\n" {
		return fmt.Errorf("the request in flight got %q", got.body)
	}
	d.ok("the request in flight was answered, %s after it was sent", round(time.Since(began)))
	select {
	case <-d.ended:
	case <-ctx.Done():
		return errors.New("nines did not end after its shutdown")
	}
	if d.endError != nil {
		return fmt.Errorf("nines up ended with an error: %w", d.endError)
	}
	for pid, id := range d.seen {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("process %d of %s is still there: %w", pid, id, err)
		}
	}
	d.ok("nines up ended with 0, and none of the %d processes seen is left", len(d.seen))
	return nil
}

func round(t time.Duration) time.Duration { return t.Round(time.Millisecond) }
