package broker

import (
	"errors"
	"log/slog"
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

// level is the log level of a refusal: an error only if the broker failed. Too many requests
// are logged at debug level, so that they do not fill the log; metrics count them.
func (r *Refusal) level() slog.Level {
	switch {
	case r.Status >= http.StatusInternalServerError:
		return slog.LevelError
	case r.Status == http.StatusTooManyRequests:
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

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
	return &Refusal{Status: http.StatusMethodNotAllowed, Reason: ReasonRequest, Detail: "this path accepts " + strings.Join(methods, " and ") + " only"}
}

// AuditUnavailable returns the refusal for when the audit log cannot be written.
func AuditUnavailable(err error) *Refusal {
	return &Refusal{Status: http.StatusServiceUnavailable, Reason: ReasonAudit, RetryAfter: RetryAfter, Err: err, Detail: "the broker's audit log cannot be written"}
}

// StoreUnavailable returns the refusal for when the store cannot be read or written.
func StoreUnavailable(err error) *Refusal {
	return &Refusal{Status: http.StatusServiceUnavailable, Reason: ReasonStore, RetryAfter: RetryAfter, Err: err, Detail: "the broker's store is unavailable"}
}
