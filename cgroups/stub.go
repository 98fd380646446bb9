// Package cgroups makes, watches and ends control groups of version 2.
package cgroups

import (
	"context"
	"errors"
)

var errStub = errors.New("cannot: not built yet")

// Level says how much of cgroup v2 can be used.
type Level string

const (
	Full Level = "full" // memory, cpu, io and pids controllers too
	Core Level = "core" // kill, freeze, events
	None Level = "none"
)

// Hierarchy is the place of this process in the cgroup v2 hierarchy.
type Hierarchy struct {
	Mount       string   // "/sys/fs/cgroup"
	Own         string   // our cgroup, relative to Mount: "/system.slice/x"
	Controllers []string // available in Own
	Level       Level
	Why         string // why not more, in plain words; "" at full
}

func Detect() *Hierarchy { return &Hierarchy{Level: None} }

// Base is where the tree goes: override if given, else Own/name.
func (h *Hierarchy) Base(override, name string) string { return "" }

// Open makes the cgroup base (relative to Mount) and its parents.
func (h *Hierarchy) Open(base string) (*Tree, error) { return nil, errStub }

// Tree is a cgroup that is ours, with all below it.
type Tree struct{}

func (t *Tree) Path() string                            { return "" } // absolute
func (t *Tree) Close() error                            { return nil }
func (t *Tree) Remove(ctx context.Context) error        { return errStub }          // all of it
func (t *Tree) List() ([]string, error)                 { return nil, errStub }     // names of the groups without children
func (t *Tree) Group(name string) *Group                { return nil }              // no system call
func (t *Tree) Create(name string) (*Group, int, error) { return nil, -1, errStub } // the descriptor is the caller's, for CLONE_INTO_CGROUP

// Group is one cgroup. It holds no descriptor.
type Group struct{}

func (g *Group) Name() string                        { return "" }
func (g *Group) Path() string                        { return "" } // absolute
func (g *Group) Kill() error                         { return errStub }
func (g *Group) Populated() (bool, error)            { return false, errStub }
func (g *Group) WaitEmpty(ctx context.Context) error { return errStub }
func (g *Group) Procs() ([]int, error)               { return nil, errStub }
func (g *Group) Freeze(ctx context.Context) error    { return errStub }
func (g *Group) Thaw(ctx context.Context) error      { return errStub }
func (g *Group) Remove(ctx context.Context) error    { return errStub }
func (g *Group) List() ([]string, error)             { return nil, errStub }
