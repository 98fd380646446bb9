// Package policy decides; everything else carries out. It is a deterministic
// state machine: Machine.Step(now, event) returns what to do. It has no
// goroutine, clock, I/O, environment or logger, and its only randomness is a
// seeded generator that is part of its state: the same seed and the same
// events give the same bytes. It imports spec (plain values) and pure parts of
// the standard library. It is not safe for concurrent use; one loop owns it.
//
// # The contract with the driver
//
//  1. Begin with New and one SpecChanged event. Call Step for every event, in
//     the order in which they happened, with a time that never goes back.
//  2. Carry out Output.Now at once and in order. Make Output.Records durable
//     (in order); only then carry out Output.Then. A Spawn is always in Then:
//     its intent is known to the keeper before the process exists. Outputs may
//     overlap: Step may be called while records of earlier Outputs are still
//     being written, as long as no Then overtakes its Records.
//  3. Output and what it points to are valid until the next Step.
//  4. Call Step(now, Tick{}) no later than Deadline says. Deadlines are state:
//     there is no timer to cancel, and an early or doubled Tick does nothing.
//  5. Everything in flight carries a Ref (slot and incarnation) or a token.
//     Answer each action exactly as its documentation says; answers may come
//     late, doubled, in any order, or never: what does not name the current
//     incarnation is dropped here, and what never comes is bounded by a
//     deadline here.
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
// After a Kill the driver has KillPatience to say so; then the slot is stuck:
// an event says it, the slot is not used until Emptied comes after all, and a
// shutdown proceeds without it.
//
// # What is wanted, and who wins
//
// Desired (what people and the spec want) and phase (what is) are two fields.
// From the strongest down: shutdown; a stuck slot; `stop` by a person; the spec's
// enabled = false; a stop that a need of this service is under; completion or
// failure for good; backoff; unmet needs and after; start.
//
// A service that needs another which a person stops is stopped first, stays
// wanted, and waits; it comes back by itself when the need is ready again.
package policy
