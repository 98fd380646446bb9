//go:build !ninesbug1 && !ninesbug2 && !ninesbug3 && !ninesbug4 && !ninesbug5 && !ninesbug6

package policy

// bug is the seeded fault that this build has: none. The simulator must find
// each of the six (package sim, TestSeededBugs), or its invariants are worth
// nothing. They are chosen by a build tag, ninesbug1 to ninesbug6; it is a
// constant, so nothing of them is left in a build without a tag.
//
//	1  an answer about an earlier incarnation is taken for the current one
//	2  backoff is forgotten where a need is stopped meanwhile
//	3  a slot is used again although something of its last incarnation lives
//	4  what others need is stopped before them
//	5  a shutdown has no deadline
//	6  the next supervisor forgets when a backoff ends
const bug = 0
