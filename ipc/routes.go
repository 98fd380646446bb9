package ipc

import (
	"net/http"
	"net/url"
	"strings"
)

// route is one row of the API. A {} in the path stands for one segment, which
// is handed to the handler. A row that gives no access would refuse everybody.
type route struct {
	method string
	path   string
	access access
	// waits: it may last as long as the caller likes, and so takes one of
	// Limits.MaxWaits.
	waits  bool
	handle func(*Server, *request) error
}

// routes is the whole API.
func routes() []route {
	return []route{
		{http.MethodGet, "/v1/status", accessRead, false, (*Server).getStatus},
		{http.MethodGet, "/v1/services/{}", accessRead, false, (*Server).getService},
		{http.MethodPost, "/v1/services/{}/start", accessWrite, true, do(VerbStart)},
		{http.MethodPost, "/v1/services/{}/stop", accessWrite, true, do(VerbStop)},
		{http.MethodPost, "/v1/services/{}/restart", accessWrite, true, do(VerbRestart)},
		{http.MethodPost, "/v1/services/{}/reload", accessWrite, true, do(VerbReload)},
		{http.MethodPost, "/v1/services/{}/scale", accessWrite, true, do(VerbScale)},
		{http.MethodPost, "/v1/services/{}/signal", accessWrite, true, do(VerbSignal)},
		{http.MethodGet, "/v1/services/{}/history", accessRead, true, (*Server).getHistory},
		{http.MethodPost, "/v1/services/{}/deploy", accessWrite, true, (*Server).postDeploy},
		{http.MethodPost, "/v1/services/{}/rollback", accessWrite, true, (*Server).postRollback},
		{http.MethodGet, "/v1/events", accessRead, true, (*Server).getEvents},
		{http.MethodGet, "/v1/services/{}/incidents", accessRead, true, (*Server).getIncidents},
		{http.MethodGet, "/v1/logs", accessRead, true, (*Server).getLogs},
		{http.MethodGet, "/v1/quarantine", accessRead, false, (*Server).getQuarantine},
		{http.MethodPost, "/v1/quarantine/{}/inspect", accessWrite, true, quarantine(VerbInspect)},
		{http.MethodPost, "/v1/quarantine/{}/kill", accessWrite, true, quarantine(VerbKill)},
		{http.MethodPost, "/v1/quarantine/{}/resume", accessWrite, true, quarantine(VerbResume)},
		{http.MethodPost, "/v1/quarantine/{}/core", accessWrite, true, quarantine(VerbCore)},
		{http.MethodGet, "/v1/upgrade", accessRead, true, (*Server).getUpgrade},
		{http.MethodPost, "/v1/upgrade", accessWrite, true, (*Server).postUpgrade},
		{http.MethodPost, "/v1/plan", accessWrite, true, (*Server).postPlan},
		{http.MethodPost, "/v1/apply", accessWrite, true, (*Server).postApply},
		{http.MethodPost, "/v1/confirm", accessWrite, true, (*Server).postConfirm},
		{http.MethodPost, "/v1/shutdown", accessWrite, true, (*Server).postShutdown},
	}
}

// find returns the row for a method and a path, and what the {} stood for; or
// no row, and the methods that the path does allow.
func find(table []route, method, path string) (row *route, arg string, allow []string) {
	for i := range table {
		r := &table[i]
		arg, ok := match(r.path, path)
		if !ok {
			continue
		}
		if r.method == method {
			return r, arg, nil
		}
		allow = append(allow, r.method)
	}
	return nil, "", allow
}

// match compares an escaped path with a pattern.
func match(pattern, path string) (arg string, ok bool) {
	before, after, has := strings.Cut(pattern, "{}")
	if !has {
		return "", pattern == path
	}
	rest, ok := strings.CutPrefix(path, before)
	if !ok {
		return "", false
	}
	rest, ok = strings.CutSuffix(rest, after)
	if !ok || rest == "" || strings.Contains(rest, "/") {
		return "", false
	}
	arg, err := url.PathUnescape(rest)
	if err != nil {
		return "", false
	}
	return arg, true
}

// clip keeps what a caller sent short where it is said back.
func clip(s string) string {
	const most = 100
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
