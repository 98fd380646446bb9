// Package policy decides; everything else carries out. It is a deterministic
// state machine: Machine.Step(now, event) returns what to do. It has no
// goroutine, clock, I/O, environment or logger, and its only randomness is a
// seeded generator that is part of its state: the same seed and the same
// events give the same bytes. It imports spec (plain values) and pure parts of
// the standard library. It is not safe for concurrent use; one loop owns it.
//
// # The contract with the driver
//
//  1. Begin with New and one SpecChanged event; a later one is an apply. Call Step for every event, in
//     the order in which they happened, with a time that never goes back.
//  2. Carry out Output.Now at once and in order; then make Output.Records
//     durable (in order); only then carry out Output.Then. A Spawn is always in Then:
//     its intent is known to the keeper before the process exists. Outputs may
//     overlap: Step may be called while records of earlier Outputs are still
//     being written, as long as no Then overtakes its Records, or an earlier
//     Then, also where one of them has no Records: a command would be done
//     before it was accepted.
//  3. Output and what it points to are valid until the next Step.
//  4. Call Step(now, Tick{}) no later than Deadline says. Deadlines are state:
//     there is no timer to cancel, and an early or doubled Tick does nothing.
//  5. Tell what the wall clock shows (ClockChanged) after SpecChanged and what
//     was found, and whenever the clock is set. Schedules alone go by it.
//  6. Everything in flight carries a Ref (slot and incarnation) or a token.
//     Answer each action exactly as its documentation says; answers may come
//     late, doubled, in any order, or never: what does not name the current
//     incarnation is dropped here, and what never comes is bounded by a
//     deadline here.
//
// # After a supervisor's death
//
// The records of a supervisor are what the next one needs: with every step, the
// memory (SlotMemory) of each slot that changed, and what people said. What the
// driver does with them:
//
//  1. Keep the newest of each key: RecordSlot by instance id, its text by
//     Record.Append; where Value is 0, forget the key.
//  2. Ready is consumed, and an exit reaped, only once the records of the step
//     that told of it are durable (peek first), or is told again (Ready may be
//     doubled): what a supervisor heard and did not record, it has not heard.
//  3. The next driver parses the values to a Past. An id whose memory cannot be
//     read is left out of it, and what lives of that instance is ended first.
//     Times are of the same clock; after a boot there is no Past.
//  4. Step(now, SpecChanged) with it and the specification that RecordApplied
//     numbers; where a newer one was made durable and had not begun, that follows
//     as an apply after 6. Past.Before lets what the last apply removed be stopped in
//     order; else it is in Machine.Unknown. Every slot is then where it was; what lives
//     is not started again. Machine.Unknown lists instances of services that are
//     no more: what lives of those the driver ends as it would any leftover, and
//     forgets their keys; the machine knows nothing of them. Instances beyond
//     what a service has now are the machine's to end.
//  5. For each instance of Snapshot whose memory Lives: find its process, by
//     PID and Start, or where none was recorded, in its cgroup or by its mark; so
//     that every Ref of it can be answered. Only then carry out the Output of 4:
//     it may ask to kill or to stop some of them. What the old supervisor asked
//     for is asked again where its answer matters; answers to the old one (of a
//     spawn, a kill, a hook) are not told.
//  6. Report, for each of them, what was found, by the events below; and no Tick
//     before all of that. Then go on as ever; the keeper tells of the exits of
//     what was adopted.
//
// What is found, and how it is told:
//
//	nothing             it lives as remembered; or its main process had ended before
//	Spawned             it was spawning, and there is a process; harmless else
//	SpawnFailed{Again}  it was spawning, and there is nothing: it is started
//	                    again at once, and nothing is counted
//	Frozen              it was being frozen: the Freeze that is asked again is answered
//	Exited{Status}      it ended meanwhile, and the keeper knows how
//	Exited{Unknown}     it ended, and nobody knows how: a failure
//	Ready               it said so, and that was not consumed
//
// Of one that was spawning something must be told; else its start timeout ends it.
//
// Backoff, crash-loop windows and counters continue; what has completed stays so;
// a shutdown goes on by its deadline. What is lost are those who waited for an
// answer, and with them their operations: an instance in the middle of a restart
// just comes up again, the next one of a rolling restart has no turn. A stop
// command that had not been answered is run again.
//
// # One incarnation's life
//
//	        Spawn                Spawned            Ready, or no ready block
//	waiting ─────▶ spawning ────────────▶ starting ─────────────────▶ ready
//	   ▲              │ SpawnFailed           │ Exited, start timeout   │ Exited, stop
//	   │              ▼                       ▼                         ▼
//	backoff ◀──── (ended) ◀── Emptied ── clearing ◀── Exited ──── stopping
//
// A slot may be used again only when the driver has said that nothing of the
// last incarnation lives (Emptied, or Exited with Empty set, or SpawnFailed).
// (Or it has left its slot for the quarantine, see there.)
// After a Kill the driver has KillPatience to say so; then the slot is stuck:
// an event says it, Kill is asked for again, the slot is not used until Emptied
// comes after all, and a shutdown proceeds without it. start.timeout counts from
// Spawned; a Spawn that is not answered is given up SpawnPatience later than that.
//
// What follows an end that nobody asked for is decided when the main process
// has ended (success_codes, then fatal_codes, then the policy; see judge), and
// done when the slot is empty. Backoff counts from the end.
//
// # What is wanted, and who wins
//
// Desired (what people and the spec want) and phase (what is) are two fields;
// transition holds what happens to every phase, decide what is done for every
// phase and desire. From the strongest down: shutdown; a stuck slot; a scale or
// `stop` by a person; the spec's enabled = false, which a person's start lifts
// until the next boot; a stop that a need of this service is under, or its group;
// completion or failure for good; backoff; unmet needs and after, and its turn in
// its group; start.
//
// # Needs and after
//
// A service satisfies those that need it when all its instances are ready (a
// task: completed), or it has none. Each start waits for that, a restart too; a
// service that runs is never touched because one of its needs crashes. What
// comes after a service waits only while that is on its way up for the first
// time since a boot or a person's start: not for one that is stopped, disabled,
// failed, held, in backoff, or blocked by such a one itself.
//
// A service that needs another which a person stops is stopped first, stays
// wanted, and waits; it comes back by itself when the need is ready again. A
// service is told to end only when nothing lives any more of all that depend on
// it: by needs for a `stop`, by needs and after for a shutdown. Stopping or
// scaling away single instances concerns those alone.
//
// # Commands
//
// A command is refused, and then nothing was changed; or accepted, and then
// answered once more, when it is done, has failed, or is superseded by a newer
// one that wants the contrary. start, restart and scale are done when each
// instance that they concern is ready, and where it has no ready block has been
// up for Settle; they fail with the first end of one of these that nobody asked
// for, and at once where a need does not come up unless a person acts. That they
// fail takes nothing back: what is wanted stays wanted. start also forgets
// failures. restart goes one instance at a time, and stops there where one does
// not come back. stop is done when the service and all that need it are down.
//
// # Another specification
//
// An apply replaces the specification as a whole; the driver has validated it and
// made it durable before. What is added starts as at a boot. What is removed stops,
// what depends on it first, and is forgotten with all that people said of it. What
// is kept cannot need it any more; but as long as something lives of that as an
// earlier revision, which was started when it did, what is removed goes on: a new
// revision that no longer uses a database must have come to every instance before
// the database stops. (Where needs alone changed there is no new revision: then the
// one that runs does not need it either, as its specification says now, and it stops
// at once.) Where such a roll does not end, the apply says so, and the next one
// goes on from there. It is not started again meanwhile if it ends. An
// apply overrides a scale; a stop by a person stays. Another digest is another
// revision, which an update brings (see there); what ends for good meanwhile, as the
// earlier one, starts with it too. A revision that is known by its digest comes back under its own number. All
// else counts at once, and touches nothing that runs. What needs a service that an
// apply disables goes down before it.
//
// # Updates
//
// An update (apply, Deploy, a person's rollback) brings another revision to the
// instances of a service. The canary goes first and alone: update.canary instances
// run the new revision, while all others go on with the old one, also where they
// crash. Once each has been ready, with no check against it, for min_healthy, the
// others follow, max_parallel at a time, those that are not ready first. What is
// healthy goes only while more than instances - max_parallel are, and as the
// disruption budget allows. With no canary, and after it, what ends by itself comes up
// with the new revision.
//
// Where the service allows it (spec.Service.StartFirst) a successor comes up beside
// what it is to replace, as the second incarnation of that instance, and takes its
// place when it has been healthy for min_healthy, or when that has ended by itself;
// only then does the old one go. So
// an update never has fewer ready than there were. Recycling does the same where there
// are replicas, and so do acts for memory. At no other time do two incarnations of an instance live.
//
// During an update the new revision is bad where one of its instances loops, ends with
// a fatal code, fails to start (no process, or not ready in time), is judged by a check
// or for its memory, or where no further instance is healthy within update.deadline;
// in its probation, where one loops, ends with a fatal code or is judged. (A check that
// an instance of another revision fails too says nothing of this one.) Then, with
// auto_revert and crash_loop.then = "rollback", the service goes back to the newest
// good revision, or the one before where none is good; without canary, but within the
// same bounds. A revision that survives its probation is good. What reverts another is
// not reverted: if it loops, it is held. A first revision is held, a task too.
//
// A revision that is bad stays out: an apply that asks for it leaves the service at
// what it runs, and Deploy refuses it without Force. What the specification asks for
// (asked) and what is current are two things: where they differ, by a revert or by a
// person's rollback, that holds until the specification asks for something else.
//
// One update a service at a time: a newer one supersedes it, and what had run before
// the first is still what there is to go back to. It goes on after a supervisor's
// death: what each slot runs, and is to run, is in its memory, and the rest in
// RecordRevision, which the driver makes durable, beyond a boot, before Then.
//
// # Data
//
// Where a service has a data block, an update ends all of it, has its data kept
// (ActSnapshot) as those of the revision that it leaves, and starts the new one only
// then; the canary is alone, since no two revisions run on the same data. What is gone
// back to (a revert, a rollback, an update that is taken back) is started only when the
// data that it had left are back (ActRestore), if restore = true; the copy is the one
// that was taken when it was left last, and there is none of what was gone back from:
// that was moved aside. A revision whose data are not to be had is not gone back to.
//
// What takes back an apply that nobody has confirmed (SpecChanged.Undo) goes back as a
// rollback does. Another specification that asks for an earlier revision is no going
// back: the data stay as they are, and are kept first.
//
// A snapshot that fails gives the update up: what the data are of comes back, and what
// was to be tried is untried, not bad. A restore that fails starts nothing: it is tried
// again every restart.max_delay, with a person's start, and with an apply; once it has
// begun it is ended before anything else, whatever is wanted meanwhile. Its answer has
// no deadline: half of it is of no use. All of that is part of RecordRevision; after a
// death what was in flight is asked for again, a restore under the same label. A restore
// that the driver finds begun (Past.Restores) is ended also where nothing is remembered.
// available_at_least does not hold while all of a service is down for its data.
//
// # Waiting for an apply
//
// An apply is answered when each service that it adds, updates, enables, resizes
// or removes is settled, or failed: then it names all that did not come up, and
// what is wanted stays wanted. A newer apply supersedes one that waits.
//
// # Failures
//
// See retry for backoff and crash loops. then = "rollback" holds where there is no
// revision that is being tried, or none to go back to. An essential service ends everything once each of
// its instances has completed, failed for good or is held.
//
// # Groups
//
// Strategies are those of an Erlang/OTP supervisor, its children being services.
// The end of any instance of a member counts, if nobody asked for it and it is to
// be started again, or was given up (crash_loop.then = "stop"); so does one by
// which a revision is reverted; an end with success of what runs to completion, and
// one by restart.policy = "never", do not (OTP's
// transient and temporary children). one_for_all: all members go down, the other
// instances of the failed one as well; rest_for_one: those after it in members,
// while its own other instances go on. They go down in the reverse order of
// members, each when nothing lives of those after it, then come up in order, each
// when all instances of those before are ready: beside needs and after, with which
// the order may not be at odds (load refuses it). Not waited for are members that a
// person or the spec wants down, and what has ended for good in a way that does not
// count; one that was given up or is stuck is waited for: the group is nothing
// without it. A task that has completed is not run again (once a boot); one that
// runs is.
//
// The failure counts for the member that failed alone: its backoff, its crash
// loop. What goes down with it comes back without delay, and counts an automatic
// restart. Services outside the group are not touched, also where they need a
// member. A person's stop, restart and scale, a recycle, and the end of what is
// being ended are no failures. A service is in one group at most (load refuses
// more). Where a restart of a group is, the next supervisor knows (RecordGroup).
//
// # What an instance says of itself
//
// Reloading and Ready are the two ends of a reload. A reload command is done, where
// the service notifies, when all that have begun have said Ready: one that has not
// begun within ReloadPatience of its signal has no words for it, and was told. A
// word from before the command is about something else. It stays ready throughout.
//
// Leaving is an end that nobody asked for, told beforehand: what needs it knows at
// once that it is not ready, stop.timeout bounds how long it takes, and the exit is
// judged as if nothing had been said.
//
// MoreTime moves the deadline of a start or a stop out, never in, and may be said
// again and again: whoever says nothing more is ended when that time is over. It
// outlives the supervisor. The end of a shutdown does not move.
//
// # Automatic acts and the disruption budget
//
// Whatever takes an instance down of nines' own accord passes mayDisrupt; the
// rest of budget.go is the line in front of it. An act waits
//
//   - while the instance would not come up again at once (needs, after, its group);
//   - while the replacement of an earlier act on the service is not up: one act at a
//     time a service. Up is ready, and Settle where there is no ready block. If
//     that replacement ends or is stuck, acts on judgements wait no longer; planned
//     ones wait until it is up after all, or unwanted;
//   - while fewer than available_at_least healthy instances would be left, if it is
//     healthy itself: ready, and no check has failed. What is not needs no budget.
//
// What waits is told once (budget_wait), by the first of a line, and is shown as
// the instance's reason. It is dropped when the incarnation ends before its turn.
// A judged instance is restarted as one that failed: backoff, crash loop, group. A
// recycled one comes back at once and counts nothing. Both are taken down before
// the replacement is started, but for what may be succeeded: see the next paragraph.
//
// Memory (restart_above, growth) is a judgement as well. It is no crash: it passes
// the budget, ends by the stop signal, and its exit reason is "memory". But it is
// an end that nobody asked for, so it counts: one that is too large again as soon
// as it is up comes back slower each time, and if it is so crash_loop.failures
// times within crash_loop.within, replacing it does not help, and that is what
// crash_loop.then is for. One that takes longer than restart.reset_after to get there counts
// anew each time, and comes back after restart.delay. Where there are replicas, and
// the service allows it (spec.Service.StartFirst), one that is recycled or judged for
// its memory serves until a successor beside it does; no start of that is hastened by
// what is judged meanwhile, and a group has lost nobody. Where one end more would make
// a crash loop, it is taken down first, as where nothing may be beside it.
//
// Not acts are: crashes, starts that time out, what people ask for, a stop in the
// order of needs, and what a group's strategy takes down with a failed member: the
// strategy says that the others are worth nothing without it, so to keep them up for
// a budget would keep up what is broken.
//
// # Checks
//
// The driver makes attempts from ActCheck to ActCheckEnd and tells how each went;
// what a row of them means is decided here, and is the same for all kinds. Checks
// run while the instance is ready; a ready block of a check kind while it is
// starting, until it has passed `successes` times in a row (`failures` says nothing
// there: start.timeout bounds it).
//
// A check fails when it has failed `failures` times in a row, and recovers when it
// has passed `successes` times in a row. While one fails the instance is unhealthy:
// it does not count as healthy for the budget, and on_failure is asked for as an
// automatic act, unless that is alert. One that recovers before the act's turn is
// left alone. An outlier fails without being unhealthy: it differs, and serves.
// What is excused (Excuse) is told once and counts neither way, for 3 × failures ×
// interval from the first such failure since the check passed; then it counts.
//
// When more than half of the instances of a service, and at least two, fail the
// same check, the event says that the likely cause is shared. An instance counts
// there until its replacement is ready. That acts go one at a time a service is the
// budget's rule, and is all the pacing there is.
//
// An apply keeps what is known of a check that it does not change. A next
// supervisor knows nothing: what had failed counts as healthy until it is found
// again, within failures × interval.
//
// # Quarantine
//
// A judged instance whose check says isolate is, at its turn, not stopped but
// frozen (Freeze), where its service can isolate. Frozen says that it stands still:
// then it leaves its slot, which goes on as after any judged end (backoff, crash
// loop, group) and is free, so that the replacement waits for nothing. FreezeFailed
// has it restarted after all; no answer within FreezePatience has it killed.
//
// What has left its slot is kept until it is one too many (keep: the oldest goes),
// too old (ttl, from the freezing), too big (memory_max_total, of its service, and
// the largest of these of all services together; what it held when it was frozen
// counts), until a person ends it, until its instance is stopped, scaled away or
// disabled, or until the shutdown: a stop is not done before it is gone. An apply
// that changes these bounds counts at once; a service without an isolate block keeps
// none. Its exit is told as any, by its Ref, and only ends the quarantine.
//
// A person may let it run on (resume): outside its slot, beside the replacement, for
// a debugger or to finish what it was at. It is not checked, counted or restarted,
// does not come back to its slot, whose replacement serves, and the same bounds end
// it, by SIGKILL. A next supervisor finds it as it was (RecordInmate).
//
// # Recycle
//
// max_age counts from the incarnation's start; jitter makes it shorter, never
// longer, by a share that belongs to the incarnation, so that no memory of it is
// needed. By schedule an incarnation is due at the first time that the schedule
// names in its life (spec.Schedule.Next has summer time), so that one which came
// while no supervisor lived is made up for. When the clock is set, lives are
// reckoned anew, as if it had been right all along: to set it by years replaces
// nothing.
package policy
