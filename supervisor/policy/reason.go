package policy

// Reason is why something is so or was done. It is small, comparable, and made
// without allocating; its words are made by String when somebody reads them.
type Reason struct{ kind uint8 }

// String says it in plain words; "" for the zero Reason.
func (r Reason) String() string { return "" }
