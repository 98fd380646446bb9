package load

// NotYet says of a block, an attribute ("service.slo") or a value
// ("service.mode=active-passive"), by its path in the language, that it is read
// and validated but has no effect yet, and what happens meanwhile.
func NotYet(path string) (meanwhile string, ok bool) { return notYet(path) }
