package sim

// Mark is a situation that histories are meant to reach. A test asserts that a
// default run reaches every one, so that a change of the generator or of the
// machine cannot quietly empty the simulation.
type Mark uint8

// The marks.
const (
	MarkSettled           Mark = iota // everything converged after the faults had stopped
	MarkReplay                        // an answer came again
	MarkLateAnswer                    // an answer came late
	MarkLateTick                      // a deadline was seen late
	MarkLost                          // an answer was lost until calm
	MarkJump                          // time leapt
	MarkSlowRecord                    // a record was slow to become durable
	MarkSpawnFailed                   // a spawn failed
	MarkKilledInSpawn                 // a spawn was killed before it came back
	MarkLeftovers                     // something outlived its main process
	MarkDeaf                          // a stop signal was ignored
	MarkStuck                         // a kill took longer than KillPatience
	MarkHookFailed                    // a command failed
	MarkHookHung                      // a command ran until its timeout
	MarkStale                         // an answer came for an incarnation that was over
	MarkBackoff                       // a start waited for its backoff
	MarkReset                         // counters were forgotten after reset_after
	MarkUnmetNeed                     // a start waited for a need
	MarkStopOrder                     // a stop waited for a dependent
	MarkTaskDone                      // a task completed
	MarkCrashLoop                     // a crash loop was held
	MarkGaveUp                        // a service failed for good
	MarkStartTimeout                  // an instance was not ready in time
	MarkShutdownKill                  // a shutdown killed what had not stopped
	MarkEssential                     // a service's end shut everything down
	MarkRefused                       // a command was refused
	MarkDone                          // a command was done
	MarkScaledDown                    // an instance ended by scaling
	MarkDeath                         // a supervisor died
	MarkUnrecorded                    // … with records that were not durable
	MarkAdopted                       // what lived was taken up by the next one
	MarkFound                         // … and had been spawning
	MarkNotFound                      // what had been spawning was not there
	MarkMeanwhile                     // an instance ended while no supervisor watched
	MarkUnknown                       // … and nobody knows how
	MarkReadyMeanwhile                // it became ready while no supervisor watched
	MarkDeathInBackoff                // a backoff continued
	MarkDeathInShutdown               // a shutdown continued
	MarkGroup                         // a member's end took others of its group with it
	MarkGroupOrder                    // … and one waited for those after it
	MarkJudged                        // an instance was judged
	MarkActed                         // … and taken down for it
	MarkRecycled                      // an instance was recycled
	MarkBudgetWait                    // an act waited
	MarkClock                         // the wall clock was set
	MarkDeathInGroup                  // a restart of a group continued
	MarkDeathInTurn                   // a replacement was awaited over a death
	MarkQuarantined                   // an instance was frozen and left its slot
	MarkFreezeFailed                  // … or could not be
	MarkResumed                       // one in quarantine was let run on
	MarkDeathInQuarantine             // one was taken up by the next supervisor
	MarkApplied                       // another specification
	MarkApplyLost                     // the supervisor died before one was durable
	MarkApplyLate                     // … or when it was, and had not begun
	MarkRemoved                       // a service was removed while something of it lived
	MarkRevived                       // … and came back while something of it lived
	MarkAdded                         // a service was added
	MarkRolled                        // an instance was replaced by one of another revision
	MarkDeathInRoll                   // the next supervisor found instances of another revision
	MarkUnplaced                      // … or of a service that it knows nothing of
	MarkAttempt                       // an attempt of a check ended
	MarkExcused                       // … and its failure proved nothing
	MarkCheckFailed                   // a check failed
	MarkReloading                     // an instance said that it reloads
	MarkReloaded                      // … or is ready again
	MarkLeaving                       // … that it ends
	MarkMoreTime                      // … that it needs longer
	MarkMainChanged                   // … that another process stands for it
	MarkBeatMissed                    // a heartbeat was missed
	MarkBeatLost                      // … and an instance ended for it
	marks
)

// Marks counts how often each mark was reached.
type Marks [marks]int

var markNames = [marks]string{
	"settled", "replay", "late answer", "late tick", "lost answer", "jump", "slow record", "spawn failed", "killed in spawn",
	"leftovers", "deaf", "stuck", "hook failed", "hook hung", "stale", "backoff", "reset", "unmet need", "stop order",
	"task done", "crash loop", "gave up", "start timeout", "shutdown kill", "essential", "refused", "done", "scaled down",
	"death", "records lost", "adopted", "found spawned", "not found", "ended meanwhile", "ended unknown", "ready meanwhile",
	"backoff continued", "shutdown continued", "group", "group order", "judged", "acted", "recycled", "budget wait",
	"clock set", "group continued", "turn continued", "quarantined", "freeze failed", "resumed", "quarantine continued",
	"applied", "apply lost", "apply late", "removed", "revived", "added", "rolled", "roll continued", "unplaced",
	"attempt", "excused", "check failed",
	"reloading", "reloaded", "leaving", "more time", "main changed", "beat missed", "beat lost",
}

func (m Mark) String() string { return markNames[m] }

// Add adds the counts of another run.
func (m *Marks) Add(o *Marks) {
	for i := range m {
		m[i] += o[i]
	}
}

// Missing returns the marks that were not reached.
func (m *Marks) Missing() []Mark {
	var missing []Mark
	for i, n := range m {
		if n == 0 {
			missing = append(missing, Mark(i))
		}
	}
	return missing
}
