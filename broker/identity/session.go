package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
)

const (
	// SessionPrefix is the prefix of every session.
	SessionPrefix = "gps_"
	// SessionLife is how long a session is valid; clients renew it before.
	SessionLife = 15 * time.Minute

	maxSession = 4 << 10 // bytes; a character of a rule's name may take six in JSON
	purpose    = "session"
)

// session is what a session claims.
type session struct {
	Workspace string `json:"w"`
	Rule      string `json:"r"`
	Join      string `json:"j"` // the beginning of the join token's hash, for the audit log
	Expires   int64  `json:"e"` // Unix time
	link
}

func (s session) claims() map[string]any {
	return map[string]any{"workspace": s.Workspace, "rule": s.Rule, "join": s.Join}
}

// A SessionIdentifier accepts sessions that were given for join tokens. Its claims are
// workspace, rule and join.
type SessionIdentifier struct {
	Keys *Keyset
	Now  func() time.Time // nil means time.Now
}

func (i *SessionIdentifier) now() time.Time {
	if i.Now == nil {
		return time.Now()
	}
	return i.Now()
}

// Identify implements [broker.Identifier].
func (i *SessionIdentifier) Identify(ctx context.Context, r *http.Request) (broker.Caller, error) {
	text := api.Bearer(r)
	if !strings.HasPrefix(text, SessionPrefix) {
		return broker.Caller{}, broker.ErrNoProof
	}
	s, err := i.open(ctx, text)
	if err != nil {
		return broker.Caller{}, err
	}
	return broker.NewCaller(JoinMethod, s.claims())
}

// open parses a session that has not expired. The caller may see its error.
func (i *SessionIdentifier) open(ctx context.Context, text string) (session, error) {
	s, err := i.read(ctx, text)
	if err == nil && !i.now().Before(time.Unix(s.Expires, 0)) {
		return s, errors.New("the session has expired; begin another with a new join token")
	}
	return s, err
}

// read parses a session, which may have expired. The caller may see its error.
func (i *SessionIdentifier) read(ctx context.Context, text string) (session, error) {
	var s session
	sealed, ok := strings.CutPrefix(text, SessionPrefix)
	if !ok {
		return s, errors.New("this is not a session")
	}
	if len(text) > maxSession {
		return s, fmt.Errorf("this is not a session: it has %d bytes, more than %d", len(text), maxSession)
	}
	payload, err := i.Keys.Open(ctx, purpose, sealed)
	switch {
	case errors.Is(err, ErrForged):
		return s, errors.New("the session has expired, or belongs to another broker; begin another with a new join token")
	case err != nil:
		return s, &broker.Refusal{Status: http.StatusServiceUnavailable, Reason: broker.ReasonStore, RetryAfter: retryAfter, Detail: "the broker cannot read its session keys", Err: err}
	}
	if err := json.Unmarshal(payload, &s); err != nil {
		return s, errors.New("this is not a session")
	}
	return s, nil
}

// seal makes a session that begins now.
func (i *SessionIdentifier) seal(ctx context.Context, s session) (text string, expires time.Time, err error) {
	expires = i.now().Add(SessionLife).Truncate(time.Second)
	s.Expires = expires.Unix()
	payload, err := json.Marshal(s)
	if err != nil {
		return "", time.Time{}, err
	}
	sealed, err := i.Keys.Seal(ctx, purpose, payload)
	if err != nil {
		return "", time.Time{}, &broker.Refusal{Status: http.StatusServiceUnavailable, Reason: broker.ReasonStore, RetryAfter: retryAfter, Detail: "the broker cannot read its session keys", Err: err}
	}
	return SessionPrefix + sealed, expires, nil
}
