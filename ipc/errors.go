package ipc

import (
	"errors"
	"fmt"
	"net/http"
)

// codeRow says how a Code leaves: as an HTTP status and as an exit code.
type codeRow struct {
	code Code
	http int
	exit int
}

// codeTable is the closed list of codes. A function, so that nobody can change it.
func codeTable() [11]codeRow {
	return [...]codeRow{
		{CodeNoSuchService, http.StatusNotFound, 5},
		{CodeNoSuchInstance, http.StatusNotFound, 5},
		{CodeNotFound, http.StatusNotFound, 1},
		{CodeBadRequest, http.StatusBadRequest, 2},
		{CodeTooLarge, http.StatusRequestEntityTooLarge, 2},
		{CodeMethod, http.StatusMethodNotAllowed, 2},
		{CodeForbidden, http.StatusForbidden, 4},
		{CodeConflict, http.StatusConflict, 1},
		{CodeFailed, http.StatusUnprocessableEntity, 1},
		{CodeBusy, http.StatusServiceUnavailable, 1},
		{CodeInternal, http.StatusInternalServerError, 1},
	}
}

// HTTPStatus is the status an error of this code is answered with; 500 for a
// code that is not in the list.
func (c Code) HTTPStatus() int {
	for _, r := range codeTable() {
		if r.code == c {
			return r.http
		}
	}
	return http.StatusInternalServerError
}

// ExitCode is what the CLI exits with on an error of this code.
func (c Code) ExitCode() int {
	for _, r := range codeTable() {
		if r.code == c {
			return r.exit
		}
	}
	return 1
}

// errorBody is how an error travels.
type errorBody struct {
	Error *Error `json:"error"`
}

// asError makes an *Error of any error: what is not one already is internal.
func asError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Code: CodeInternal, Message: err.Error()}
}

func badRequest(hint, format string, args ...any) *Error {
	return &Error{Code: CodeBadRequest, Message: fmt.Sprintf(format, args...), Hint: hint}
}

// ErrNoSupervisor says that nothing answers at the socket.
type ErrNoSupervisor struct {
	Socket string
	Err    error
	// Stale: there is a socket, but nobody listens (any more, or just now).
	Stale bool
}

func (e *ErrNoSupervisor) Error() string {
	return fmt.Sprintf("cannot reach the supervisor: nothing answers at %s", e.Socket)
}

func (e *ErrNoSupervisor) Unwrap() error { return e.Err }

// ErrLost says that the connection broke before the answer was complete: what
// was asked for may have been done.
type ErrLost struct{ Err error }

func (e *ErrLost) Error() string {
	return "cannot read the answer: the supervisor closed the connection"
}

func (e *ErrLost) Unwrap() error { return e.Err }

// ErrInUse says that a live supervisor listens at the path already.
type ErrInUse struct{ Path string }

func (e *ErrInUse) Error() string {
	return fmt.Sprintf("cannot listen on %s: another supervisor answers there; stop it or choose another --runtime-dir", e.Path)
}
