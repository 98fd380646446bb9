package load

// notYet says of a block, an attribute or a value (by its path in the
// language) that it is read and validated but has no behaviour yet, and what
// happens meanwhile. Whoever gives it one deletes its row.
func notYet(path string) (meanwhile string, ok bool) {
	switch path {
	case "supervisor.metrics":
		return "Nothing listens there.", true
	case "supervisor.web":
		return "Nothing listens there.", true

	case "service.mode=active-passive":
		return "All instances are active.", true
	case "service.standby":
		return "All instances are active.", true
	case "service.slo":
		return "There is no report yet that it would be measured in.", true
	case "service.sandbox":
		return "The service runs without a sandbox.", true
	case "service.listen.share=reuseport", "service.listen.address=udp":
		return "The socket is not bound.", true
	}
	return "", false
}
