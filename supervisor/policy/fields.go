package policy

import "strconv"

// Left is the revision that a rollback, a revert, or a restore of data leaves; 0: it
// says none.
func (r Reason) Left() int {
	if r.kind == whyReverted || r.kind == whyRolledBack || r.kind == whyNotKept || r.kind == whyDataBack && r.count != r.code {
		return int(r.count)
	}
	return 0
}

// Fields is what of a Reason a program may want, as in the API's event fields:
// exit_code or signal (how an incarnation ended), delay_ms, count, name. It is
// nil where there is nothing.
func (r Reason) Fields() map[string]string {
	f := map[string]string{}
	how := r.how
	if how == whyNothing {
		how = r.kind
	}
	switch how {
	case whyExited, whyExecFailed, whyCompleted:
		f["exit_code"] = strconv.Itoa(int(r.code))
	case whySignaled, whyOOM:
		f["signal"] = r.name
	default:
		if r.name != "" {
			f["name"] = r.name
		}
	}
	if r.delay > 0 {
		f["delay_ms"] = strconv.FormatFloat(float64(r.delay.Microseconds())/1000, 'f', -1, 64)
	}
	if r.count > 0 && r.kind != whySignaled && r.kind != whyNeeds {
		f["count"] = strconv.Itoa(int(r.count))
	}
	if len(f) == 0 {
		return nil
	}
	return f
}
