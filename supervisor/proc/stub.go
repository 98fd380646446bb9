package proc

import (
	"context"
	"errors"
	"time"

	"nines/cgroups"
)

var errStub = errors.New("cannot: not built yet")

func LookupUser(user, group string, groups []string) (*User, error) { return nil, errStub }

type Spawner struct{}

func NewSpawner(shim string) (*Spawner, error) { return nil, errStub }

func (s *Spawner) Close() error { return nil }

func (s *Spawner) Start(c *Command) (pid int, confirm func() error, err error) {
	return 0, nil, errStub
}

type Error struct {
	Step string
	Path string
	Why  string
	Err  error
}

func (e *Error) Error() string { return "" }
func (e *Error) Unwrap() error { return e.Err }
func (e *Error) Again() bool   { return false }
func (e *Error) ExitCode() int { return 1 }

type Status struct {
	Code   int
	Signal string
	Core   bool
}
type Exit struct {
	PID    int
	Status Status
}

func Reap(dst []Exit) []Exit                              { return dst }
func Signal(pid int, sig string) error                    { return errStub }
func SignalProcess(pid int, start uint64, s string) error { return errStub }
func SignalNumber(name string) (int, bool)                { return 0, false }

// Tree is everything that one start has brought about.
type Tree struct {
	PID       int
	Start     uint64         // its start time (StartTime); 0: not known, then a pid used again may be taken for it
	Group     *cgroups.Group // nil at level none
	Mark      string         // value of NINES_INCARNATION
	KeeperPID int
	Known     func(pid int) bool // main processes of others, which Empty need not look at; nil: none
}

func (t *Tree) Empty() (bool, error)           { return false, errStub }
func (t *Tree) Kill(ctx context.Context) error { return errStub }

type Marked struct {
	PID   int
	Start uint64
	Mark  string
}

func FindMarked(prefix string) ([]Marked, error) { return nil, errStub }

func StartTime(pid int) (uint64, error) { return 0, errStub }
func ReadStat(pid int) (rss uint64, cpu time.Duration, start uint64, err error) {
	return 0, 0, 0, errStub
}
