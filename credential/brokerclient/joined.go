package brokerclient

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/httpclient"
	"github.com/gatepass/gatepass/internal/usererr"
)

// joined is a session that a join token gave. The token works once. The session is only
// in the memory of this process, which renews it for as long as it runs.
type joined struct {
	source *Source
	file   string // of the join token

	mu      sync.Mutex // guards the rest; held during a call to the broker, so that one call serves all
	session api.Secret
	expires time.Time
	renew   time.Time // when the session is due for renewal
	attempt string    // the key of the attempt to renew the session; "" before the first
	refused string    // the token that the broker refused, and
	why     error     // its reason
	over    error     // why the broker does not renew the session; nil if it may
}

// lastMoment is how much of a session must be left for a call with it.
const lastMoment = 5 * time.Second

// join returns the session for a broker and a file. From now on it asks through s.
func (o *Opener) join(s *Source, file string) *joined {
	o.mu.Lock()
	defer o.mu.Unlock()
	key := s.name + "\n" + s.base + "\n" + file
	if o.joined == nil {
		o.joined = map[string]*joined{}
	}
	j := o.joined[key]
	if j == nil {
		j = &joined{file: file}
		o.joined[key] = j
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.source = s
	return j
}

// NeedsAgent reports whether the source has a session, which is lost with its process.
func (s *Source) NeedsAgent() bool {
	_, ok := s.identity.(*joined)
	return ok
}

// Upkeep renews a session ahead of time, and uses a join token before it expires.
func (s *Source) Upkeep(ctx context.Context) {
	if j, ok := s.identity.(*joined); ok {
		_, _ = j.authorization(ctx) // the next call reports the error
	}
}

func (j *joined) where() string { return "the session of the join token" }

func (j *joined) authorization(ctx context.Context) (string, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := time.Now()
	if j.expires.Sub(now) < lastMoment {
		return j.begin(ctx)
	}
	if now.After(j.renew) {
		// If the renewal fails, the session is used until it expires, unless there is a
		// new token.
		err := j.exchange(ctx, api.ExchangeRequest{})
		if _, isPassing := errors.AsType[*httpclient.TransientError](err); err != nil && !isPassing {
			_, _ = j.begin(ctx)
		}
	}
	return "Bearer " + j.session.Reveal(), nil
}

// atHand returns the header with the current session; "" for none. It is for calls that
// do not justify using a token or renewing a session.
func (j *joined) atHand() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	if time.Until(j.expires) < lastMoment {
		return ""
	}
	return "Bearer " + j.session.Reveal()
}

// instead returns the header with another session in place of the one in authorization.
// The broker refused that one, whatever this machine's clock says about it.
func (j *joined) instead(ctx context.Context, authorization string) (string, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if now := "Bearer " + j.session.Reveal(); now != authorization {
		return now, nil
	}
	return j.begin(ctx)
}

// wake renews an expired session: a broker may let workspaces sleep. The caller holds
// mu.
func (j *joined) wake(ctx context.Context) (string, error) {
	if j.over != nil {
		return "", j.over
	}
	err := j.exchange(ctx, api.ExchangeRequest{})
	if err != nil {
		if _, isPassing := errors.AsType[*httpclient.TransientError](err); !isPassing && ctx.Err() == nil {
			j.over = err
		}
		return "", err
	}
	return "Bearer " + j.session.Reveal(), nil
}

// begin uses the join token and deletes it. If there is none, it renews the old
// session. The caller holds mu.
func (j *joined) begin(ctx context.Context) (string, error) {
	what := "read the join token " + j.file
	text, err := readFile(j.file)
	if errors.Is(err, os.ErrNotExist) && !j.expires.IsZero() {
		return j.wake(ctx)
	}
	if err != nil {
		return "", usererr.Wrap(what, err, "put a join token there: gatepass workspace join-token")
	}
	text = strings.TrimSuffix(text, "\n")
	if credential.CheckSecret(text) != nil {
		return "", usererr.New(what, "it is not a join token", "put one there: gatepass workspace join-token")
	}
	if text == j.refused {
		return "", j.why
	}
	err = j.exchange(ctx, api.ExchangeRequest{JoinToken: api.NewSecret(text)})
	if err != nil {
		if _, isPassing := errors.AsType[*httpclient.TransientError](err); !isPassing && ctx.Err() == nil {
			j.refused, j.why = text, err
		}
		return "", err
	}
	_ = os.Remove(j.file) // the token is spent; leave nothing for others to find
	return "Bearer " + j.session.Reveal(), nil
}

// exchange asks for a session, in exchange for a join token or the current session. The
// caller holds mu.
func (j *joined) exchange(ctx context.Context, r api.ExchangeRequest) error {
	authorization := ""
	if r.JoinToken.Reveal() == "" {
		authorization = "Bearer " + j.session.Reveal()
	}
	if j.attempt == "" {
		j.attempt = newAttempt()
	}
	body, err := api.EncodeExchange(r)
	if err != nil {
		return err
	}
	s := j.source
	response, data, err := s.renew(ctx, api.ExchangePath, authorization, j.attempt, body)
	if err != nil {
		return err
	}
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
		problem := api.DecodeProblem(response.Header.Get("Content-Type"), data)
		problem.Status = response.StatusCode
		return &usererr.Error{Op: "get a session from the broker at " + s.name, Reason: "it refuses" + reasonText(problem), Hint: "put a new join token into " + j.file + ": gatepass workspace join-token", Err: problem}
	default:
		return s.unanswered(response, data, "it does not give sessions")
	}
	answer, err := api.DecodeSession(data)
	if err != nil || credential.CheckSecret(answer.Session.Reveal()) != nil {
		return s.unexpectedAnswer("its answer is not a session")
	}
	ends := answer.ExpiresAt.Add(httpclient.Ahead(response.Header)) // by our clock
	left := time.Until(ends)
	if left < lastMoment {
		return usererr.New(s.what(), "its session has expired already", "compare the clocks of this machine and the broker's")
	}
	j.attempt, j.over = "", nil
	j.session, j.expires, j.renew = answer.Session, ends, ends.Add(-left/2) // by the wall clock, like the expiry
	return nil
}
