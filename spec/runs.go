package spec

// Running is s with that of as which is part of a revision, what its processes run
// with: all that is applied in place is s's own. The table of what belongs to a
// revision is spec/diff's; a test holds the two together.
func (s *Service) Running(as *Service) *Service {
	if as == nil || as == s {
		return s
	}
	r := *s
	r.Type, r.Mode = as.Type, as.Mode
	r.Process, r.Limits, r.Sandbox = as.Process, as.Limits, as.Sandbox
	r.Listen, r.Ports = as.Listen, as.Ports
	switch {
	case as.Release == nil:
		r.Release = nil
	case s.Release == nil:
		r.Release = as.Release
	default:
		release := *s.Release
		release.Path = as.Release.Path
		r.Release = &release
	}
	return &r
}

// StartFirst says whether another incarnation may run beside one of s, so that it
// can be replaced by one that has shown that it works: asked for, or where all of
// its addresses are sockets of the supervisor's. Of one that names no address nobody
// knows which it has, so it is not. Nor is one with ports: they belong to the
// instance, and the two would have the same.
func (s *Service) StartFirst() bool {
	if s.Type == TypeTask || s.Mode == ActivePassive || s.Data != nil || len(s.Ports) > 0 {
		return false
	}
	switch s.Update.Order {
	case "start-first":
		return true
	case "auto":
		return len(s.Listen) > 0
	}
	return false
}
