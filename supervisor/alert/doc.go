// Package alert tells people of events: the alert blocks of a specification. It
// never hurts who calls it: Event does not wait, what is kept is bounded, and a
// receiver that hangs holds up its own alert and nothing else.
//
//   - Each alert has a queue of MaxQueue events and, while there are some, one
//     goroutine, which delivers them one after the other, in their order. When
//     the queue is full the oldest goes: news are worth more than what nobody has
//     heard for so long. How many went is told.
//   - A command gets the event as JSON on standard input and in its environment
//     (Run), and CommandTimeout. It is run once; again only if it could not be
//     started.
//   - A webhook gets the same JSON by POST: 2xx is an answer, all else is not. The
//     certificate is verified, a redirect is not followed. It is tried Attempts
//     times, WebhookTimeout each, with pauses that double from FirstPause, each
//     longer or shorter by up to a quarter by chance; not again after an answer
//     that says that this request is wrong (4xx, but for 408, 425 and 429).
//     The receiver may get an event twice: "seq" names it.
//   - What could not be delivered is told by Config.Failed, which makes the event
//     alert_failed. That one goes to other alerts that name it, never to the one
//     that failed, and if it cannot be delivered either, that is only logged: so
//     alerts about alerts end.
//   - It is all in memory. A supervisor that dies loses what it had not delivered;
//     the events themselves are in the journal.
//
// A webhook's URL is a secret: no message shows more of it than the host.
package alert
