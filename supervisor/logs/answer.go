package logs

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strings"
)

const (
	historyBatch = 256     // lines given at once
	sourceBytes  = 8 << 10 // taken from a ring at a time
	maxExtend    = 3       // times that a source goes back to files because its ring moved on
)

// answer gives emit what q asks for: history, and then, if it follows, what
// comes until ctx ends.
func (h *hub) answer(ctx context.Context, q Query, emit func([]entry) error) error {
	want := q.matcher()
	r := newReader(func(k *sink) bool { return want(k.key.service, k.key.instance) })
	h.watch(r)
	defer func() { h.unwatch(r) }()
	if !q.Follow {
		// The rings need not hold more for it, nor wake it.
		r.mu.Lock()
		subs := slices.Clone(r.subs)
		r.mu.Unlock()
		h.unwatch(r)
		r.subs = subs
	}
	if err := h.past(ctx, r, q, want, emit); err != nil || !q.Follow {
		return err
	}
	return r.follow(ctx, emit)
}

// matcher reports what q names.
func (q *Query) matcher() func(service, instance string) bool {
	services, instances := make(map[string]bool), make(map[string]bool)
	for _, s := range q.Services {
		services[s] = true
	}
	for _, i := range q.Instances {
		instances[i] = true
	}
	return func(service, instance string) bool {
		return len(services) == 0 && len(instances) == 0 || services[service] || instances[instance]
	}
}

// past gives what is kept, merged by time.
func (h *hub) past(ctx context.Context, r *reader, q Query, want func(service, instance string) bool, emit func([]entry) error) error {
	sources, err := h.sources(r, q, want)
	opened := sources
	defer func() {
		for _, s := range opened {
			if s.files != nil {
				s.files.close()
			}
		}
	}()
	if err != nil {
		return err
	}
	since := int64(math.MinInt64)
	if !q.Since.IsZero() {
		since = q.Since.UnixNano()
	}
	if sources, err = join(sources, q.Lines, since); err != nil {
		return err
	}
	batch := make([]entry, 0, historyBatch)
	err = merge(sources, since, func(s *source) error {
		key := &s.key
		if s.keys != nil {
			key = s.keys[0]
		}
		batch = append(batch, entry{key: key, item: s.head})
		if len(batch) < historyBatch {
			return nil
		}
		err := errors.Join(ctx.Err(), emit(batch))
		batch = batch[:0]
		return err
	})
	if err == nil && len(batch) > 0 {
		err = emit(batch)
	}
	return err
}

// sources prepares a source for each sink that has a ring, and for each log in
// the known folders that has none.
func (h *hub) sources(r *reader, q Query, want func(service, instance string) bool) ([]*source, error) {
	var sources []*source
	known := make(map[string]bool)
	live := func() error {
		r.mu.Lock()
		subs := slices.Clone(r.subs)
		r.mu.Unlock()
		for _, sub := range subs {
			path := sub.sink.set.Load().path()
			if sub.sink.set.Load().ToFile {
				if known[path] {
					continue
				}
				known[path] = true
			} else if slices.ContainsFunc(sources, func(s *source) bool { return s.sub == sub }) {
				continue
			}
			s, err := h.liveSource(sub, q)
			if err != nil {
				return err
			}
			sources = append(sources, s)
		}
		return nil
	}
	if err := live(); err != nil {
		return sources, err
	}
	cold := h.coldLogs(want)
	// A log that was cold when it was found may have begun to be written since:
	// then it belongs to its sink.
	if q.Follow && len(cold) > 0 {
		if err := live(); err != nil {
			return sources, err
		}
	}
	for _, c := range cold {
		if known[c.path] {
			continue
		}
		info, err := h.fs.Stat(c.path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return sources, err
		}
		y := &history{hub: h, path: c.path, end: place{off: info.Size(), valid: true}}
		if err := y.seek(q.Lines, q.Since); err != nil {
			return sources, err
		}
		sources = append(sources, &source{key: c.key, files: y})
	}
	return sources, nil
}

func (h *hub) liveSource(sub *subscription, q Query) (*source, error) {
	k := sub.sink
	s := &source{key: k.key, sub: sub}
	set := k.set.Load()
	var size int64
	var rot int64
	if set.ToFile {
		// Before the ring is looked at: if that is empty still, nothing that it
		// will ever hold is in these bytes.
		rot = k.file.rot.Load()
		if info, err := h.fs.Stat(set.path()); err == nil {
			size = info.Size()
		}
	}
	sub.mu.Lock()
	have, end, at := k.ring.last(&sub.cur, q.Lines)
	next := sub.cur.next
	sub.mu.Unlock()
	s.end = end
	if have == 0 && next == 0 && end == 0 {
		at = place{rot: rot, off: size, valid: true}
	}
	need := q.Lines - have
	if q.Lines < 0 {
		need = -1
	}
	if !set.ToFile || !at.valid || need == 0 {
		return s, nil
	}
	s.files = &history{hub: h, sink: k, path: set.path(), end: at}
	return s, s.files.seek(need, q.Since)
}

type coldLog struct {
	key  sinkKey
	path string
}

// coldLogs lists the wanted logs in the known folders. A folder that cannot be
// read has none.
func (h *hub) coldLogs(want func(service, instance string) bool) []coldLog {
	h.mu.Lock()
	dirs := make([]string, 0, len(h.volumes))
	for dir := range h.volumes {
		if dir != "" {
			dirs = append(dirs, dir)
		}
	}
	h.mu.Unlock()
	var found []coldLog
	for _, dir := range dirs {
		services, err := h.fs.ReadDir(dir)
		if err != nil {
			continue // not made yet, or not ours to read
		}
		for _, e := range services {
			service, err := unescape(e.Name())
			if err != nil || !e.IsDir() {
				continue
			}
			logs, err := h.fs.ReadDir(filepath.Join(dir, e.Name()))
			if err != nil {
				continue
			}
			for _, l := range logs {
				name, ok := strings.CutSuffix(l.Name(), ".log")
				if !ok {
					continue
				}
				key := sinkKey{service: service, stream: Out}
				if n, ok := strings.CutSuffix(name, ".err"); ok {
					name, key.stream = n, Err
				}
				index, err := unescape(name)
				if err != nil {
					continue
				}
				if key.instance = index; !strings.Contains(index, "/") {
					key.instance = service + "/" + index
				}
				if want(key.service, key.instance) {
					found = append(found, coldLog{key, filepath.Join(dir, e.Name(), l.Name())})
				}
			}
		}
	}
	return found
}
