package supervisor

// Fault is a point at which a test build (tag ninesfault) may die, for those who do
// the supervisor's work outside this package; elsewhere it does nothing.
func Fault(point string) { fault(point) }
