package supervisor

import (
	"strconv"

	"nines/spec"
	"nines/spec/load"
	"nines/supervisor/journal"
	"nines/supervisor/policy"
	"nines/supervisor/probe"
	"nines/supervisor/probe/node"
)

// newNode makes what checks the machine, with the checks of the specification.
// Run runs it.
func (s *Supervisor) newNode() *node.Runner {
	scope := &load.Scope{Env: s.spawner.resolve.getenv, Host: s.spawner.resolve.host}
	r := node.New(node.Config{
		Client: probe.NewClient(),
		Eval:   func(e spec.Expr) (string, error) { return load.String(e, scope) },
		Tell:   s.machineChanged,
		Log:    s.log,
	})
	r.Set(s.cfg.Spec.Checks)
	return r
}

// machineChanged puts into the journal what a check of the machine has come to.
func (s *Supervisor) machineChanged(c node.Change) {
	e := journal.Entry{Kind: policy.KindCheckPassed, Text: "check " + strconv.Quote(c.Name) + " of the machine passes again"}
	if c.Failed {
		e.Kind, e.Text = policy.KindCheckFailed, "check "+strconv.Quote(c.Name)+" of the machine failed: "+c.Text
	}
	s.note(e.WithField("check", c.Name))
}

// NodeChecks is what is known of the checks of the machine, in the order of the
// specification.
func (s *Supervisor) NodeChecks() []node.Status { return s.node.Status() }
