package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// demo is a `nines up`, one after the other, and what was seen of it.
type demo struct {
	*screen
	dir, nines, web, web2 string
	env                   []string

	main     *exec.Cmd     // `nines up`
	ended    chan struct{} // closed when it has ended,
	endError error         // with this
	follow   *exec.Cmd     // `nines events -f --json`
	followed chan struct{} // closed when that has ended
	seen     map[int]string

	mu     sync.Mutex
	events []event
	came   chan struct{} // closed and made anew when an event comes
}

// The parts of the documented JSON that the demo reads.
type (
	status struct {
		Services []service `json:"services"`
	}
	service struct {
		Name      string     `json:"name"`
		State     string     `json:"state"`
		Revision  int        `json:"revision"`
		Instances []instance `json:"instances"`
		Update    struct {
			State string `json:"state"`
		} `json:"update"`
	}
	revision struct {
		Revision int    `json:"revision"`
		State    string `json:"state"`
		By       string `json:"by"`
		Reason   string `json:"reason"`
	}
	instance struct {
		ID       string `json:"id"`
		State    string `json:"state"`
		PID      int    `json:"pid"`
		Restarts int    `json:"restarts"`
	}
	event struct {
		Seq      uint64    `json:"seq"`
		Time     time.Time `json:"time"`
		Kind     string    `json:"kind"`
		Service  string    `json:"service"`
		Instance string    `json:"instance"`
		Message  string    `json:"message"`
	}
	logLine struct {
		Instance string `json:"instance"`
		Line     string `json:"line"`
	}
)

// up starts `nines up` with that spec, and follows its events.
func (d *demo) up(ctx context.Context, spec string) error {
	d.events, d.seen = nil, map[int]string{}
	log, err := os.Create(filepath.Join(d.dir, "up.log"))
	if err != nil {
		return fmt.Errorf("cannot keep what nines prints: %w", err)
	}
	d.shell("nines up -f "+spec+" &", "")
	// Not bound to ctx: the end of the demo stops it in order, see close.
	d.main = exec.Command(d.nines, "up", "-f", filepath.Join(d.dir, spec))
	d.main.Env, d.main.Dir, d.main.Stdout, d.main.Stderr = d.env, d.dir, log, log
	// A group of its own: Ctrl-C at the demo must not reach it twice.
	d.main.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := d.main.Start(); err != nil {
		return errors.Join(fmt.Errorf("cannot start nines: %w", err), log.Close())
	}
	d.ended = make(chan struct{})
	go func() {
		d.endError = errors.Join(d.main.Wait(), log.Close())
		close(d.ended)
	}()
	if _, err := d.until(ctx, "the supervisor answers", func(status) bool { return true }); err != nil {
		return err
	}
	return d.listen()
}

// listen collects and shows events until the supervisor ends.
func (d *demo) listen() error {
	d.came = make(chan struct{})
	d.follow = exec.Command(d.nines, "events", "-f", "--json")
	d.follow.Env = d.env
	out, err := d.follow.StdoutPipe()
	if err != nil {
		return fmt.Errorf("cannot read events: %w", err)
	}
	if err := d.follow.Start(); err != nil {
		return fmt.Errorf("cannot read events: %w", err)
	}
	d.followed = make(chan struct{})
	go func() {
		defer close(d.followed)
		for dec := json.NewDecoder(out); ; {
			var e event
			if err := dec.Decode(&e); err != nil {
				if !errors.Is(err, io.EOF) {
					d.fail(fmt.Errorf("cannot read events: %w", err))
				}
				return
			}
			d.mu.Lock()
			d.events = append(d.events, e)
			close(d.came)
			d.came = make(chan struct{})
			d.mu.Unlock()
			d.event(e)
		}
	}()
	return nil
}

// run asks nines something and gives what it prints.
func (d *demo) run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, d.nines, args...)
	cmd.Env = d.env
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("nines %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return string(out), nil
}

// until asks for the status until it is as wanted.
func (d *demo) until(ctx context.Context, what string, wanted func(status) bool) (status, error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		out, err := d.run(ctx, "status", "--json")
		var st status
		if err == nil {
			if err := json.Unmarshal([]byte(out), &st); err != nil {
				return st, fmt.Errorf("cannot read the status: %w", err)
			}
			d.remember(st)
			if wanted(st) {
				return st, nil
			}
		}
		last = err
		select {
		case <-tick.C:
		case <-d.ended:
			return st, fmt.Errorf("cannot see that %s: nines ended: %w", what, errors.Join(d.endError, last))
		case <-ctx.Done():
			return st, fmt.Errorf("cannot see that %s: %w", what, errors.Join(last, d.describe(st)))
		}
	}
}

// describe is a status as an error.
func (d *demo) describe(st status) error {
	var b strings.Builder
	for _, s := range st.Services {
		fmt.Fprintf(&b, "%s is %s;", s.Name, s.State)
		for _, i := range s.Instances {
			fmt.Fprintf(&b, " %s is %s;", i.ID, i.State)
		}
	}
	return errors.New(b.String())
}

// remember keeps every process that was ever seen, for the last check.
func (d *demo) remember(st status) {
	for _, s := range st.Services {
		for _, i := range s.Instances {
			if i.PID > 0 {
				d.seen[i.PID] = i.ID
			}
		}
	}
}

// await gives the first event from position `from` on that is wanted, and the
// position after it.
func (d *demo) await(ctx context.Context, from int, what string, wanted func(event) bool) (event, int, error) {
	for {
		d.mu.Lock()
		came := d.came
		for ; from < len(d.events); from++ {
			if e := d.events[from]; wanted(e) {
				d.mu.Unlock()
				return e, from + 1, nil
			}
		}
		d.mu.Unlock()
		select {
		case <-came:
		case <-d.followed:
			return event{}, from, fmt.Errorf("cannot see that %s: the events ended", what)
		case <-ctx.Done():
			return event{}, from, fmt.Errorf("cannot see the event that %s: %w", what, ctx.Err())
		}
	}
}

// heard is how many events came so far.
func (d *demo) heard() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.events)
}

// logs gives the lines of a service or an instance that are kept.
func (d *demo) logs(ctx context.Context, of string) ([]logLine, error) {
	out, err := d.run(ctx, "logs", of, "--json", "-n", "1000")
	if err != nil {
		return nil, err
	}
	var all []logLine
	for sc := bufio.NewScanner(strings.NewReader(out)); sc.Scan(); {
		var l logLine
		if err := json.Unmarshal(sc.Bytes(), &l); err != nil {
			return nil, fmt.Errorf("cannot read the logs: %w", err)
		}
		all = append(all, l)
	}
	return all, nil
}

// close ends what is left. After a failure it shows the end of what nines
// printed.
func (d *demo) close(failed bool) error {
	if d.main == nil || d.ended == nil {
		return nil
	}
	var err error
	select {
	case <-d.ended:
	default:
		// The process may have ended in between: then there is none to signal.
		_ = d.main.Process.Signal(syscall.SIGTERM)
		select {
		case <-d.ended:
		case <-time.After(15 * time.Second):
			err = errors.New("nines did not end within 15 s of SIGTERM")
			_ = d.main.Process.Kill() // as above
			for pid := range d.seen {
				_ = syscall.Kill(pid, syscall.SIGKILL) // most are long gone
			}
			<-d.ended
		}
	}
	if d.followed != nil {
		_ = d.follow.Process.Kill() // it ended with the supervisor, as a rule
		<-d.followed
		_ = d.follow.Wait() // its status says nothing
	}
	if failed {
		printed, readErr := os.ReadFile(filepath.Join(d.dir, "up.log"))
		if readErr != nil {
			return errors.Join(err, readErr)
		}
		d.say("", "")
		d.shell("tail -n 40 (what nines up printed)", lastLines(string(printed), 40))
	}
	return err
}

func lastLines(s string, n int) string {
	lines := strings.SplitAfter(s, "\n")
	return strings.Join(lines[max(0, len(lines)-n-1):], "")
}
