//go:build ninesfault

package supervisor

import (
	"bufio"
	"os"
	"strings"

	"nines/spec"
	"nines/supervisor/policy"
)

// takeJudgements judges, in a test build, what is written to the FIFO that
// NINES_FAULT_JUDGE names: lines of an instance's id, what to do, and why.
func (s *Supervisor) takeJudgements() {
	fifo := os.Getenv("NINES_FAULT_JUDGE")
	if fifo == "" {
		return
	}
	go func() {
		for {
			f, err := os.Open(fifo) // waits for a writer
			if err != nil {
				return
			}
			for lines := bufio.NewScanner(f); lines.Scan(); {
				id, rest, _ := strings.Cut(lines.Text(), " ")
				on, why, _ := strings.Cut(rest, " ")
				s.box.put(func() {
					for _, in := range s.live {
						if in.id == id {
							s.Judge(in.ref, policy.CauseCheck, why, spec.OnFailure(on))
							return
						}
					}
				})
			}
			if f.Close() != nil {
				return
			}
		}
	}()
}
