package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"nines/supervisor/journal"
	"nines/supervisor/notify"
	"nines/supervisor/policy"
)

// What an Upgrade may be of, and how it may stand.
const (
	UpgradeSupervisor = "supervisor"
	UpgradeKeeper     = "keeper"

	UpgradeAsked    = "asked"  // of the keeper, which has not answered
	UpgradeTrying   = "trying" // the new program shows whether it works
	UpgradeDone     = "done"
	UpgradeReverted = "reverted" // what ran before runs again, or never ended
)

// Upgrade is how the last upgrade of nines itself stands. It is kept by the
// keeper, so that the supervisor that comes after one knows of it.
type Upgrade struct {
	ID    uint64 // grows by one with each; 0: there was none
	What  string
	State string
	From  string // version
	Path  string // of the new program
	Why   string // it was reverted
}

// UnderWay says that it is not decided.
func (u *Upgrade) UnderWay() bool { return u.State == UpgradeAsked || u.State == UpgradeTrying }

func (u *Upgrade) encode() string {
	return strings.Join([]string{u.State, strconv.FormatUint(u.ID, 10), u.What, u.From, u.Path}, "\t")
}

func parseUpgrade(text string) (Upgrade, bool) {
	f := strings.SplitN(text, "\t", 6)
	if len(f) < 5 {
		return Upgrade{}, false
	}
	id, err := strconv.ParseUint(f[1], 10, 64)
	u := Upgrade{ID: id, What: f[2], State: f[0], From: f[3], Path: f[4]}
	if len(f) == 6 {
		u.Why = f[5]
	}
	return u, err == nil
}

// UpgradeRequest asks for another program in place of a running one.
type UpgradeRequest struct {
	Keeper    bool          // of the keeper; else of the supervisor
	Path      string        // absolute: the program, or a folder that it is in
	Within    time.Duration // to become ready
	Probation time.Duration // to live, ready, before it is taken for good
}

// The bounds of a request. The path must fit in a value of the keeper's, beside
// what it has to say of it.
const (
	maxUpgradeTime = time.Hour
	maxUpgradePath = 2 << 10 // bytes
)

// ErrHandedOver is what Run returns when another supervisor takes over: all that
// was made is left for it.
var ErrHandedOver = errors.New("another supervisor takes over")

// ErrUpgrade says why an upgrade cannot be.
type ErrUpgrade struct {
	Refused bool // it was wrong or out of place; else it was tried
	Why     string
}

func (e *ErrUpgrade) Error() string { return "cannot upgrade: " + e.Why }

func refuseUpgrade(format string, args ...any) error {
	return &ErrUpgrade{Refused: true, Why: fmt.Sprintf(format, args...)}
}

// leavePatience is how long a supervisor that makes way waits for starts that
// are under way. What comes after it finds out about them as after a crash.
const leavePatience = 5 * time.Second

// answerPatience is how long the keeper, which does nothing that takes long, may
// take to agree.
const answerPatience = 10 * time.Second

// upgrading is the loop's part.
type upgrading struct {
	last    Upgrade
	mine    uint64        // the one that this supervisor asked for
	answer  chan Upgrade  // what the keeper says to that; holds one
	leaveAt policy.Time   // it makes way by then; 0: it does not
	telling bool          // of how the last one ended: the next one would tell again
	changed chan struct{} // closed when last changes
}

// Upgrade checks the new program, asks the keeper, and returns when the keeper
// has agreed: the state is then UpgradeTrying, and if it is of the supervisor,
// this one ends. The error is an *ErrUpgrade, ErrEnded or ctx's.
func (s *Supervisor) Upgrade(ctx context.Context, r UpgradeRequest) (Upgrade, error) {
	if r.Within <= 0 || r.Within > maxUpgradeTime || r.Probation < 0 || r.Probation > maxUpgradeTime {
		return Upgrade{}, refuseUpgrade("its times are not within %s", maxUpgradeTime)
	}
	name := "nines"
	if r.Keeper {
		name = "nines-init"
	}
	path, files, err := openPrograms(r.Path, name)
	if err != nil {
		return Upgrade{}, err
	}
	defer func() {
		for _, f := range files {
			_ = f.Close() // was only read
		}
	}()
	fds := make([]int, len(files))
	for i, f := range files {
		fds[i] = int(f.Fd())
	}
	var u Upgrade
	var failed error
	answer := make(chan Upgrade, 1)
	if err := s.call(ctx, func() {
		if u, failed = s.askUpgrade(r, path, fds); failed == nil {
			s.upgrade.answer = answer
		}
	}); err != nil {
		return Upgrade{}, err
	}
	if failed != nil {
		return Upgrade{}, failed
	}
	late := time.NewTimer(answerPatience)
	defer late.Stop()
	select {
	case u = <-answer:
	case <-late.C:
		u.State, u.Why = UpgradeReverted, "the keeper does not answer: it may be of a version that cannot; start it again"
		if err := s.call(ctx, func() {
			if s.upgrade.last.ID == u.ID && s.upgrade.last.State == UpgradeAsked {
				s.setUpgrade(u)
			}
		}); err != nil {
			return u, err
		}
	case <-ctx.Done():
		return u, ctx.Err()
	case <-s.ended:
		// It ends because of the answer, which is there.
		select {
		case u = <-answer:
		default:
			return u, ErrEnded
		}
	}
	if u.State == UpgradeReverted {
		return u, &ErrUpgrade{Why: u.Why}
	}
	return u, nil
}

// askUpgrade runs in the loop.
func (s *Supervisor) askUpgrade(r UpgradeRequest, path string, fds []int) (Upgrade, error) {
	if s.upgrade.last.UnderWay() {
		return Upgrade{}, refuseUpgrade("another upgrade, to %s, is under way: wait for its end", s.upgrade.last.Path)
	}
	u := Upgrade{ID: s.upgrade.last.ID + 1, What: UpgradeSupervisor, State: UpgradeAsked, From: s.cfg.Version, Path: path}
	ask := notify.Field{Key: notify.KeyUpgrade, Value: fmt.Sprintf("%d %d %s", r.Within.Milliseconds(), r.Probation.Milliseconds(), path)}
	if r.Keeper {
		u.What, u.From = UpgradeKeeper, ""
		ask = notify.Field{Key: notify.KeyReexec, Value: path}
	}
	fault("upgrade-asking")
	if err := s.cfg.Keeper.Send(notify.Message{notify.Value(keyUpgrade, u.encode()), ask}.Append(nil), fds); err != nil {
		return Upgrade{}, &ErrUpgrade{Why: "the keeper cannot be told: " + err.Error()}
	}
	fault("upgrade-asked")
	s.upgrade.mine = u.ID
	s.setUpgrade(u)
	return u, nil
}

func (s *Supervisor) setUpgrade(u Upgrade) {
	s.upgrade.last = u
	if c := s.upgrade.changed; c != nil {
		s.upgrade.changed = nil
		close(c)
	}
}

// upgradeTold: the keeper says how the upgrade stands.
func (s *Supervisor) upgradeTold(value string) {
	u, ok := parseUpgrade(value)
	if !ok {
		s.log.Warn("cannot read what the keeper told of an upgrade", "value", value)
		return
	}
	s.setUpgrade(u)
	if a := s.upgrade.answer; a != nil && u.ID == s.upgrade.mine {
		s.upgrade.answer = nil
		a <- u
	}
	asked := u.State == UpgradeTrying && u.What == UpgradeSupervisor && u.ID == s.upgrade.mine
	failed := u.State == UpgradeReverted && s.cfg.Past.OnTrial() && u.ID == s.cfg.Past.Upgrade.ID
	if asked || failed {
		s.upgrade.leaveAt = s.clock.now().Add(leavePatience)
		s.log.Info("making way for another supervisor", "upgrade", u.State, "path", u.Path)
		return // the other tells of it
	}
	s.noteUpgrade()
}

// noteUpgrade says once how an upgrade ended.
func (s *Supervisor) noteUpgrade() {
	u := &s.upgrade.last
	id := strconv.FormatUint(u.ID, 10)
	if u.ID == 0 || u.UnderWay() || s.cfg.Past.UpgradeTold == id {
		return
	}
	s.cfg.Past.UpgradeTold = id
	e := journal.Entry{Kind: journal.KindUpgraded}
	switch {
	case u.State == UpgradeReverted:
		e.Kind, e.Text = journal.KindReverted, fmt.Sprintf("the upgrade of the %s to %s was reverted: %s", u.What, u.Path, u.Why)
	case u.What == UpgradeKeeper:
		e.Text = fmt.Sprintf("the keeper runs %s: %s", u.Path, u.Why)
	default:
		e.Text = fmt.Sprintf("the supervisor runs %s: %s is now %s", u.Path, u.From, s.cfg.Version)
	}
	s.note(e)
	// Not before it is on disk, or nobody would tell of it if we died.
	s.upgrade.telling = true
	s.journal.Write(nil, func(error) {
		s.box.put(func() {
			s.upgrade.telling = false
			s.values = append(s.values, keyUpgradeTold+" "+id)
		})
	})
}

// leaves says whether it is time to make way.
func (s *Supervisor) leaves() bool {
	at := s.upgrade.leaveAt
	return at != 0 && (s.inFlight == 0 && !s.upgrade.telling || at <= s.clock.now())
}

// makeWay ends this supervisor and leaves all that lives to the next.
func (s *Supervisor) makeWay() (int, error) {
	fault("upgrade-leaving")
	s.refuseAll("another supervisor takes over before it was done: what was asked for may be done or not")
	s.spawner.close()
	select {
	case <-s.spawner.done:
	case <-time.After(spawnerPatience):
		// It is stuck in a clone, which the next one finds.
	}
	return 0, ErrHandedOver
}

// UpgradeState returns how the last upgrade stands, if wait not before it is
// decided.
func (s *Supervisor) UpgradeState(ctx context.Context, wait bool) (Upgrade, error) {
	return s.waitUpgrade(ctx, func(u *Upgrade) bool { return !wait || !u.UnderWay() })
}

func (s *Supervisor) waitUpgrade(ctx context.Context, enough func(*Upgrade) bool) (Upgrade, error) {
	for {
		var u Upgrade
		var changed chan struct{}
		if err := s.call(ctx, func() {
			u = s.upgrade.last
			if s.upgrade.changed == nil {
				s.upgrade.changed = make(chan struct{})
			}
			changed = s.upgrade.changed
		}); err != nil {
			return Upgrade{}, err
		}
		if enough(&u) {
			return u, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Upgrade{}, ctx.Err()
		case <-s.ended:
			return Upgrade{}, ErrEnded
		}
	}
}

// openPrograms opens the new program and, with a supervisor, the log process
// beside it if there is one. The path that it returns is that of the file
// itself: a link to a folder of another version may change any time.
func openPrograms(path, name string) (string, []*os.File, error) {
	if !filepath.IsAbs(path) {
		return "", nil, refuseUpgrade("%q is no absolute path", path)
	}
	if strings.ContainsFunc(path, func(r rune) bool { return r < ' ' }) {
		return "", nil, refuseUpgrade("%q has control characters", path)
	}
	if fi, err := os.Stat(path); err == nil && fi.IsDir() {
		path = filepath.Join(path, name)
	}
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", nil, refuseUpgrade("%v: give the path of %s, or of the folder that it is in", err, name)
	}
	if len(path) > maxUpgradePath {
		return "", nil, refuseUpgrade("the path of %s is longer than %d bytes", name, maxUpgradePath)
	}
	paths := []string{path}
	if name == "nines" {
		log := filepath.Join(filepath.Dir(path), "nines-log")
		if _, err := os.Stat(log); err == nil {
			paths = append(paths, log)
		}
	}
	var files []*os.File
	for _, p := range paths {
		f, err := openProgram(p)
		if err != nil {
			for _, f := range slices.Backward(files) {
				_ = f.Close() // was only read
			}
			return "", nil, err
		}
		files = append(files, f)
	}
	return path, files, nil
}
