package signer

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/gatepass/gatepass/internal/httpclient"
	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/internal/usererr"
)

// A Problem says why a call failed and what to do about it. [Call] adds the operation.
type Problem struct {
	Why, Do string
	Err     error         // the cause, for errors.Is
	Again   bool          // the next attempt may succeed
	After   time.Duration // how long the KMS asks to wait before it; 0 if it does not say
	Stale   bool          // other credentials may help, so the client is dropped

	isLateToken bool
}

func (p *Problem) Error() string { return usererr.New(p.Why, "", p.Do).Error() }

// Unwrap returns Err.
func (p *Problem) Unwrap() error { return p.Err }

// New returns a Problem that another attempt does not solve.
func New(why, do string) *Problem { return &Problem{Why: why, Do: do} }

// Passing returns a Problem that may be gone after that time.
func Passing(why, do string, after time.Duration) *Problem {
	return &Problem{Why: why, Do: do, Again: true, After: after}
}

// IsLate reports whether err came because time ran out.
func IsLate(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded)
}

// LateToken returns the Problem that time ran out before there was an access token.
func LateToken() *Problem {
	return &Problem{
		Why: "the access token did not arrive in time", Do: "check that the server of the credentials can be reached from here",
		Err: context.DeadlineExceeded, Again: true, Stale: true, isLateToken: true,
	}
}

// A Client opens and describes the client of a KMS.
type Client[C any] struct {
	Open    func(context.Context) (*C, error)
	Close   func(*C) // closes a client that is dropped; nil does nothing
	Service string   // the service's name for errors: "Azure"
	Host    string   // the host that must be reachable: "cloudkms.googleapis.com"

	lazy httpclient.Lazy[C]
}

// Call makes one call within ctx's deadline, with as many attempts as needed. what
// starts its errors. do, and Open of the client, may return a [*Problem]; explain
// converts all other errors, except that time ran out.
func Call[C, Out any](ctx context.Context, c *Client[C], what string, explain func(error) *Problem, do func(context.Context, *C) (Out, error)) (Out, error) {
	return httpclient.Retry(ctx, func(ctx context.Context) (Out, error) {
		out, p := attempt(ctx, c, explain, do)
		if p == nil {
			return out, nil
		}
		if ctx.Err() != nil {
			p = c.ended(ctx.Err(), p)
		}
		var none Out
		line := &usererr.Error{Op: what, Reason: p.Why, Hint: p.Do, Err: p.Err}
		if p.Again {
			return none, &httpclient.TransientError{Err: line, After: p.After}
		}
		return none, line
	})
}

func attempt[C, Out any](ctx context.Context, c *Client[C], explain func(error) *Problem, do func(context.Context, *C) (Out, error)) (out Out, p *Problem) {
	ctx, cancel := context.WithTimeout(ctx, httpclient.AttemptWait)
	defer cancel()
	client, err := c.lazy.Get(ctx, c.Open)
	if err == nil {
		out, err = do(ctx, client)
	}
	p, isTold := errors.AsType[*Problem](err)
	switch {
	case err == nil:
		return out, nil
	case isTold:
	case errors.Is(err, context.DeadlineExceeded):
		p = c.late(err)
	default:
		p = explain(err)
	}
	if p.Stale && client != nil && c.lazy.Drop(client) && c.Close != nil {
		c.Close(client)
	}
	return out, p
}

func (c *Client[C]) late(err error) *Problem {
	return &Problem{Why: c.Service + " did not answer in time", Do: "check that " + c.Host + " can be reached from here", Err: err, Again: true}
}

// ended returns the Problem when no further attempt is possible. err is the context's
// error, and last the Problem of the last attempt.
func (c *Client[C]) ended(err error, last *Problem) *Problem {
	p := c.late(err)
	p.Again = false
	switch {
	case errors.Is(err, context.Canceled):
		p.Why = "the request was cancelled"
	case last.isLateToken:
		p.Why, p.Do = last.Why, last.Do
	}
	return p
}

// Excerpt returns up to max bytes of a server's text, after a colon and safe for an error;
// "" if there is none.
func Excerpt(text string, max int) string {
	if text = redact.Text(text, max); text != "" {
		return ": " + text
	}
	return ""
}

// OAuthError returns the code and the first line of the description of an OAuth error
// (RFC 6749, section 5.2), safe for an error; for other bodies it returns otherwise.
func OAuthError(body []byte, otherwise string, max int) string {
	var said struct {
		Code        string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(body, &said) != nil || said.Code == "" {
		return otherwise
	}
	first, _, _ := strings.Cut(said.Description, "\n") // followed by Microsoft's identifiers for its support
	return redact.Text(strings.TrimSuffix(said.Code+": "+strings.TrimSpace(first), ": "), max)
}
