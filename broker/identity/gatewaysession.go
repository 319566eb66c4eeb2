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
	// MaxRenewal is how long after the proof of an identity its gateway session can be
	// renewed. Afterwards the workspace must prove its identity again.
	MaxRenewal = 24 * time.Hour

	gatewayPurpose    = "gateway session"
	maxGatewaySession = 8 << 10 // bytes; the longest secret that clients accept
)

// GatewaySessions are bearer identities for the git gateway. A session names a workspace and
// the rule that resolved it. What it allows is read from the current policy at every use. It
// ends when the rule is changed or removed.
type GatewaySessions struct {
	Keys *Keyset          // its store also records renewals
	Now  func() time.Time // nil means time.Now
}

func (g *GatewaySessions) now() time.Time {
	if g.Now == nil {
		return time.Now()
	}
	return g.Now()
}

// gatewaySession is the content of a session. It is signed, not encrypted.
type gatewaySession struct {
	Workspace string            `json:"w"`
	Rule      string            `json:"r"`
	RuleHash  string            `json:"h"`
	Method    string            `json:"m"`
	Subject   string            `json:"s"`
	Claims    map[string]string `json:"c,omitempty"` // those that the rule checked, for the audit log
	Repo      string            `json:"p,omitempty"` // owner/name; "" means every repository of the profile
	Begun     int64             `json:"b"`           // when the identity was proved, in Unix time
	Expires   int64             `json:"e"`           // Unix time
	// Last is when the session ends even if it is renewed. It is set if the session was
	// made with another session, which can be renewed instead; 0 otherwise.
	Last int64 `json:"l,omitempty"`
	link
}

// Begin returns a session of w, which has just proved its identity. A non-zero repo is the
// only repository that the session opens. If the identity is itself a session for a join
// token, only that one is renewed, so that copies of it are detected.
func (g *GatewaySessions) Begin(ctx context.Context, w broker.Workspace, repo api.Repo) (text string, expires time.Time, err error) {
	s := gatewaySession{Workspace: w.ID, Rule: w.Rule, RuleHash: w.RuleHash, Method: w.Caller.Method, Subject: w.Caller.Subject, Claims: w.Claims, Begun: g.now().Unix()}
	s.Repo, s.link = textOf(repo), newLink()
	if w.Caller.Method == JoinMethod {
		s.Last = g.ends(s).Unix()
	}
	return g.seal(ctx, s)
}

// textOf is owner/name, or "" for the zero Repo.
func textOf(repo api.Repo) string {
	if !repo.IsValid() {
		return ""
	}
	return repo.String()
}

// Renew returns a session like the one in text that expires later and opens repo; see Begin.
// The caller checks whether the session in text opens repo. attempt is the client's attempt
// key; see [Renewals.Next]. A session for one repository that is made with a wider session
// expires with it. The error is a [*broker.Refusal].
func (g *GatewaySessions) Renew(ctx context.Context, text string, repo api.Repo, attempt string) (renewed string, expires time.Time, err error) {
	s, err := g.read(ctx, text)
	if err != nil {
		return "", time.Time{}, err
	}
	switch {
	case s.Repo != textOf(repo):
		s.Repo, s.Last, s.link = textOf(repo), s.Expires, newLink()
	case s.Last == 0:
		if s.link, err = (Renewals{g.Keys.Store}).Next(ctx, s.link, attempt, g.now(), g.ends(s)); err != nil {
			return "", time.Time{}, err
		}
	}
	return g.seal(ctx, s)
}

// ends is when a session that is sealed now expires.
func (g *GatewaySessions) ends(s gatewaySession) time.Time {
	expires := g.now().Add(SessionLife).Truncate(time.Second)
	if last := time.Unix(s.Begun, 0).Add(MaxRenewal); last.Before(expires) {
		expires = last
	}
	if last := time.Unix(s.Last, 0); s.Last != 0 && last.Before(expires) {
		expires = last
	}
	return expires
}

func (g *GatewaySessions) seal(ctx context.Context, s gatewaySession) (text string, expires time.Time, err error) {
	expires = g.ends(s)
	s.Expires = expires.Unix()
	payload, err := json.Marshal(s)
	if err != nil {
		return "", time.Time{}, err
	}
	sealed, err := g.Keys.Seal(ctx, gatewayPurpose, payload)
	if err != nil {
		return "", time.Time{}, noKeys(err)
	}
	if text = broker.GatewaySessionPrefix + sealed; len(text) > maxGatewaySession {
		return "", time.Time{}, &broker.Refusal{Status: http.StatusForbidden, Reason: broker.ReasonIdentity, Detail: fmt.Sprintf("the identity is too long for a session: it has %d bytes, more than %d", len(text), maxGatewaySession)}
	}
	return text, expires, nil
}

// Open returns the workspace of a session by the current policy, and the only repository that
// the session opens (zero: all of the profile's). The error is a [*broker.Refusal].
func (g *GatewaySessions) Open(ctx context.Context, text string, policy *broker.Policy) (broker.Workspace, api.Repo, error) {
	s, err := g.read(ctx, text)
	if err != nil {
		return broker.Workspace{}, api.Repo{}, err
	}
	rule, ok := policy.FindRule(s.Rule, s.RuleHash)
	if !ok {
		return broker.Workspace{}, api.Repo{}, unsure("the broker's rule for this session has changed; request another session")
	}
	var repo api.Repo
	if s.Repo != "" {
		if repo, ok = api.ParseRepo(s.Repo); !ok {
			return broker.Workspace{}, api.Repo{}, unsure("this is not a session")
		}
	}
	return broker.Workspace{
		ID: s.Workspace, Profile: rule.Profile, Rule: rule.Name, RuleHash: rule.Hash, Tokens: rule.Tokens, Policy: policy, Claims: s.Claims,
		Caller: broker.Caller{Method: s.Method, Subject: s.Subject},
	}, repo, nil
}

func (g *GatewaySessions) read(ctx context.Context, text string) (s gatewaySession, err error) {
	sealed, ok := strings.CutPrefix(text, broker.GatewaySessionPrefix)
	if !ok || len(text) > maxGatewaySession {
		return s, unsure("this is not a gateway session")
	}
	payload, err := g.Keys.Open(ctx, gatewayPurpose, sealed)
	switch {
	case errors.Is(err, ErrForged):
		return s, unsure("the session has expired, or belongs to another broker; request another session")
	case err != nil:
		return s, noKeys(err)
	}
	if json.Unmarshal(payload, &s) != nil {
		return gatewaySession{}, unsure("this is not a gateway session")
	}
	if !g.now().Before(time.Unix(s.Expires, 0)) {
		return gatewaySession{}, unsure("the session has expired; request another session")
	}
	return s, nil
}

func unsure(detail string) error {
	return &broker.Refusal{Status: http.StatusUnauthorized, Reason: broker.ReasonIdentity, Detail: detail}
}

func noKeys(err error) error {
	return &broker.Refusal{Status: http.StatusServiceUnavailable, Reason: broker.ReasonStore, RetryAfter: retryAfter, Detail: "the broker cannot read its session keys", Err: err}
}
