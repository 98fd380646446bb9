//go:build !ninesbug1 && !ninesbug2 && !ninesbug3 && !ninesbug4 && !ninesbug5 && !ninesbug6 && !ninesbug7 && !ninesbug8 && !ninesbug9 && !ninesbug10 && !ninesbug11 && !ninesbug12 && !ninesbug13 && !ninesbug14 && !ninesbug15 && !ninesbug16 && !ninesbug17 && !ninesbug18 && !ninesbug19 && !ninesbug20 && !ninesbug21 && !ninesbug22 && !ninesbug23 && !ninesbug24 && !ninesbug31 && !ninesbug32

package policy

// bug is the seeded fault that this build has: none. The simulator must find
// each of them (package sim, TestSeededBugs), or its invariants are worth
// nothing. They are chosen by a build tag, ninesbug1 to ninesbug24; it is a
// constant, so nothing of them is left in a build without a tag.
//
//	1  an answer about an earlier incarnation is taken for the current one
//	2  backoff is forgotten where a need is stopped meanwhile
//	3  a slot is used again although something of its last incarnation lives
//	4  what others need is stopped before them
//	5  a shutdown has no deadline
//	6  the next supervisor forgets when a backoff ends
//	7  automatic acts do not ask the disruption budget
//	8  rest_for_one stops what comes after the failed member in any order
//	9  the next supervisor forgets that a replacement is awaited
//	10 a failed attempt counts although the instance could not have answered
//	11 what a check asked for is done although it has recovered
//	12 what an apply removes is stopped before what depends on it
//	13 the next supervisor takes what runs for the current revision
//	14 an apply leaves a service at what it was scaled to
//	15 one more than isolate.keep is kept in quarantine
//	16 a stop leaves what is in quarantine
//	17 to ask for more time moves the end of a stop in, too
//	18 what says that it ends may take as long as it likes
//	19 the next supervisor forgets that another process stands for an instance
//	20 a reload that has begun and is not done in time is said to be done
//	24 an attempt that was made for something else is believed
//
// Of updates, which TestUpdates must find:
//
//	21 an update takes down more than max_parallel at once
//	22 a revision that was reverted is not marked bad
//	23 what reverts another revision is reverted itself
//	31 instances are started while the data of their service are moved
//	32 what is gone back to is started on the data that the other has left
const bug = 0
