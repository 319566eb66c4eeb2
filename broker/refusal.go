package broker

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/gatepass/gatepass/api"
)

// RetryAfter is when a caller may retry after the store, the audit log or GitHub failed.
const RetryAfter = 10 * time.Second

// A Refusal is any answer without a token. Detail is for people, and reveals nothing about
// other callers.
type Refusal struct {
	Status     int    // of HTTP
	Reason     string // one of the Reason constants, for audit and metrics
	Detail     string
	RetryAfter time.Duration // for 429 and 503
	Err        error         // the cause, for the broker's log; callers never see it
}

func (r *Refusal) Error() string {
	if r.Err != nil {
		return r.Detail + ": " + r.Err.Error()
	}
	return r.Detail
}

// Unwrap returns the cause.
func (r *Refusal) Unwrap() error { return r.Err }

// The reasons of refusals. They are few, because they are labels of metrics.
const (
	ReasonHost       = "host"       // not served
	ReasonIdentity   = "identity"   // none, or not valid
	ReasonReplay     = "replay"     // a single-use proof was used again
	ReasonCopied     = "copied"     // two holders renewed one session
	ReasonRule       = "rule"       // no rule matches the identity
	ReasonBlocked    = "barred"     // the workspace, the account or the App is blocked
	ReasonRepository = "repository" // not allowed by the profile
	ReasonPermission = "permission" // not allowed by the profile
	ReasonRequest    = "request"    // malformed
	ReasonLimit      = "limit"      // too many requests
	ReasonGitHub     = "github"     // GitHub refuses or is unavailable
	ReasonAudit      = "audit"      // the audit log cannot be written
	ReasonStore      = "store"      // the store cannot be read or written
	ReasonInternal   = "internal"   // a failure within the broker
	ReasonNone       = ""           // the request was granted
)

const maxDetail = 300 // bytes of a refusal's Detail

// Problem is the problem document of the refusal.
func (r *Refusal) Problem() api.Problem { return api.NewProblem(r.Status, r.Detail) }

// RefusalOf returns the refusal in err. For any other error it returns a general one that
// wraps err, for the log.
func RefusalOf(err error) *Refusal {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r
	}
	return &Refusal{Status: http.StatusInternalServerError, Reason: ReasonInternal, Err: err, Detail: "the broker could not answer; its log says why"}
}

// BadRequest returns the refusal of a malformed request.
func BadRequest(detail string) *Refusal {
	return &Refusal{Status: http.StatusBadRequest, Reason: ReasonRequest, Detail: detail}
}

// NotAllowed refuses a method that a path does not support, and sets the Allow header.
func NotAllowed(w http.ResponseWriter, methods ...string) *Refusal {
	w.Header().Set("Allow", strings.Join(methods, ", "))
	return &Refusal{Status: http.StatusMethodNotAllowed, Reason: ReasonRequest, Detail: "this path is for " + strings.Join(methods, " and ")}
}

// AuditUnavailable returns the refusal for when the audit log cannot be written.
func AuditUnavailable(err error) *Refusal {
	return &Refusal{Status: http.StatusServiceUnavailable, Reason: ReasonAudit, RetryAfter: RetryAfter, Err: err, Detail: "the broker's audit log cannot be written"}
}

// StoreUnavailable returns the refusal for when the store cannot be read or written.
func StoreUnavailable(err error) *Refusal {
	return &Refusal{Status: http.StatusServiceUnavailable, Reason: ReasonStore, RetryAfter: RetryAfter, Err: err, Detail: "the broker's store is unavailable"}
}

// withProblems answers requests without a handler with a problem document, like all other
// errors.
func withProblems(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if handler, pattern := mux.Handler(r); pattern == "" {
			mute := &statusOnly{ResponseWriter: w}
			handler.ServeHTTP(mute, r)
			_ = api.WriteProblem(w, api.NewProblem(mute.status, "this broker serves no such path, or not by that method")) // fails only if the client has gone
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// statusOnly discards an answer and keeps its status.
type statusOnly struct {
	http.ResponseWriter
	status int
}

func (m *statusOnly) WriteHeader(status int) { m.status = status }

func (m *statusOnly) Write(p []byte) (int, error) { return len(p), nil }
