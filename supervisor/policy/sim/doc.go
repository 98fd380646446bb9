// Package sim drives the policy machine through random histories in virtual
// time and checks after every step that it keeps its promises. It is pure: no
// I/O, no clock, no goroutine; the same scenario gives the same history, byte
// for byte, millions of steps in seconds.
//
// Generate makes a Scenario from a seed: a random specification, what people
// command, how badly the world behaves. Run lets it happen: the world keeps
// what is true of processes (package comment of policy: the driver's side of
// the contract), tells the machine in every way that the contract allows (late,
// doubled, in another order, or not at all where the machine has a deadline),
// and carries out what the machine asks for. Shrink finds a small scenario that
// breaks the same invariant, Report shows it. FromBytes makes a Scenario for a
// fuzzer.
//
//	go test ./supervisor/policy/sim                                      # 150,000 events
//	NINES_SIM_EVENTS=50000000 NINES_SIM_SEED=7 go test -run TestSim …    # long, from seed 7 on
//	NINES_SIM_EVENTS=1 NINES_SIM_SEED=4711 go test -run TestSim …        # the history of one seed
//	go test -fuzz FuzzSim ./supervisor/policy/sim
//
// Supervisors die in half of the histories: the machine is thrown away with what
// it had not recorded and the actions behind that, processes go on, and the next
// machine is made of the records and of what is found (see death.go). The observer
// forgets with it: he too then knows only what was so at the last record that was
// kept, so that every invariant below holds across deaths as it does else.
//
// In half of the histories other specifications are applied while all of that
// goes on: services are added, removed, resized, disabled, of another revision, need
// others, are in other groups, have other budgets (see edit.go). Deaths fall before
// one is durable, between that and its beginning, and before its records are.
//
// Instances say things of themselves by sd_notify (see words.go): that they are ready,
// late or never; that they reload, end, need longer, that another process stands for
// them; and their heartbeat stops. What they say comes late, again, and of
// incarnations that are over.
//
// Faults can be built into the machine (policy/bug.go); a test requires that the
// simulator finds each.
//
// # The invariants
//
// The observer behind them does not believe the machine: he keeps a model of
// his own of what is wanted and counts failures and delays himself, from what
// the machine was told and the words of the specification. The numbers are
// those of the list of guarantees.
//
//	1        no two incarnations of a slot live at once, nor is one asked for
//	         before the machine knows that nothing of the last one lives, or that it
//	         stands still in quarantine
//	2        nothing in quarantine outlives a stop
//	3        no start before its backoff is over; delays never shrink before
//	         reset_after
//	13       a check has failed when, and only when, it has failed so often in a
//	         row, and excused failures count after 3 × failures × interval; what is
//	         ready is checked, and nothing that was told to end; what fails one is
//	         taken down in the same step where nothing stands against it; nothing is
//	         ended for a heartbeat that it keeps
//	12       what is wanted and may start is asked for in the same step; what
//	         is not ready in time is ended; once faults stop, everything comes
//	         to be as it is wanted
//	15       a shutdown ends within its timeout and KillPatience
//	order    nothing starts before what it needs is ready, nothing is ended
//	         before what depends on it
//	stopped  what nobody wants is not started; what is wanted and not late is
//	         not ended
//	done     what has ended for good (a task, above all) is not started again
//	         without a person's word, nor is a task of whose end nothing is known
//	loop     a crash loop is declared when, and only when, there is one
//	keep     no more are kept in quarantine than isolate.keep, nor for longer than ttl,
//	         as the specification says now
//	apply    once an apply is done, nothing lives of what it removed, and of what it
//	         revised nothing that is ready is of another revision
//	revision a number stands for one revision, for as long as its service is known
//	intent   a spawn leaves after the record of its intent is durable; the records
//	         can be read again, and keep nothing of instances that are no more
//	stale    no action names an incarnation that is over
//	answer   every request is answered finally, once
//	group    what goes down with a failed member does so after those that come
//	         after it, nothing of a group starts while something from before the
//	         failure lives, and each only when those before are up
//	budget   an automatic act, or a replacement by another revision, leaves available_at_least instances ready, or takes one
//	         that was not
//	turn     automatic acts on a service are one at a time
//	stop     what was told to end, or says that it ends, has stop.timeout, or as long
//	         as it asked for, and no longer
//	reload   a reload is not done while an instance that has begun to is at it
//	end      the end comes last, when nothing lives but what is stuck, with the
//	         exit status of the shutdown that was asked for
//
// They hold under faults; only that everything converges must wait until the
// faults have stopped, which is the last part of each history.
//
// # The trace
//
// One line a step:
//
//	step  time in s  event                   | notice …  | N actions at once | R records | T actions once R is durable
//	41    12.000345  exited a/0.3 code 1     | backoff a/0: …  | N kill a/0.3
//	42    12.000361  emptied a/0.3
//	43    12.100345  tick                    | starting a/0  | R intent a/0.4 | T spawn a/0.4
//
// "a/0.3" is the third incarnation of instance 0 of service a; "?" begins a
// request, with its number. The word "again" after "failed" means a passing
// failure of the machine; "—" begins a line about the world itself.
package sim
