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

// A Problem is why a call failed and what to do about it. [Call] puts in front what
// was asked.
type Problem struct {
	Why, Do string
	Err     error         // what lies below, for errors.Is
	Again   bool          // the next attempt may succeed
	After   time.Duration // what the KMS asks to wait before it; 0 when it does not say
	Stale   bool          // other credentials may help: the client is dropped

	isLateToken bool
}

func (p *Problem) Error() string { return usererr.New(p.Why, "", p.Do).Error() }

// Unwrap returns Err.
func (p *Problem) Unwrap() error { return p.Err }

// New returns a Problem that stays.
func New(why, do string) *Problem { return &Problem{Why: why, Do: do} }

// Passing returns a Problem that may be gone after that time.
func Passing(why, do string, after time.Duration) *Problem {
	return &Problem{Why: why, Do: do, Again: true, After: after}
}

// IsLate reports that err came because time was up.
func IsLate(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded)
}

// LateToken returns the Problem that time was up before there was an access token.
func LateToken() *Problem {
	return &Problem{
		Why: "there was no access token in time", Do: "check that the server of the credentials can be reached from here",
		Err: context.DeadlineExceeded, Again: true, Stale: true, isLateToken: true,
	}
}

// A Client is how a KMS is asked.
type Client[C any] struct {
	Open    func(context.Context) (*C, error)
	Close   func(*C) // ends a client that is dropped; nil does nothing
	Service string   // who answers: "Azure"
	Host    string   // what has to be reached: "cloudkms.googleapis.com"

	lazy httpclient.Lazy[C]
}

// Call makes one call within ctx's deadline, in as many attempts as it takes. what
// begins its errors. do, and Open of the client, may return a [*Problem]; explain
// makes one of all other errors but that time is up.
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

// ended is what to tell when no further attempt can be made. err is that of the
// context, last the Problem of the last attempt.
func (c *Client[C]) ended(err error, last *Problem) *Problem {
	p := c.late(err)
	p.Again = false
	switch {
	case errors.Is(err, context.Canceled):
		p.Why = "the request was given up"
	case last.isLateToken:
		p.Why, p.Do = last.Why, last.Do
	}
	return p
}

// Said is what a server says, after a colon and fit for a message; "" when that is
// nothing. Of it, max bytes are shown.
func Said(text string, max int) string {
	if text = redact.Text(text, max); text != "" {
		return ": " + text
	}
	return ""
}

// OAuthError reads the code and the first line of the description of an OAuth error
// (RFC 6749, section 5.2), fit for a message; otherwise is returned for all else.
func OAuthError(body []byte, otherwise string, max int) string {
	var said struct {
		Code        string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(body, &said) != nil || said.Code == "" {
		return otherwise
	}
	first, _, _ := strings.Cut(said.Description, "\n") // Microsoft's identifiers for its support follow
	return redact.Text(strings.TrimSuffix(said.Code+": "+strings.TrimSpace(first), ": "), max)
}
