package brokerclient

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/protocol"
	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/internal/httpclient"
	"github.com/gatepass/gatepass/internal/usererr"
)

// Sessions is a Source of sessions at the git gateway of a broker. It requests no
// GitHub token.
//
// git shares one session for all repositories of the workspace. A request with
// [protocol.OperationAPI] gets a session for its repository alone.
type Sessions struct {
	*Source

	mu   sync.Mutex // guards last
	last map[api.Repo]*renewable
}

// A renewable is a session with the key of the attempt to renew it. The key is ""
// before the first attempt, so that copies of this process make different ones.
type renewable struct {
	credential.Token
	attempt string
}

// Sessions returns the sessions at the broker's gateway.
func (s *Source) Sessions() *Sessions { return &Sessions{Source: s} }

// UsesOperation reports false: a session is for both reading and writing.
func (*Sessions) UsesOperation() bool { return false }

// Key returns one key for all requests of git, which share a session, and one per
// repository for other programs.
func (g *Sessions) Key(req credential.Request) string {
	if req.Operation != protocol.OperationAPI {
		return "git"
	}
	r, err := sessionRequest(req)
	if err != nil {
		return "\x00" + req.Path
	}
	return "api " + r.Repo.String()
}

// Token asks the broker for a session. It retries transient errors (429, 5xx, a lost
// connection) until ctx's deadline.
//
// It proves the workspace's identity anew. If the broker no longer accepts that, as
// when the token of a CI job has expired, it renews the previous session while that is
// valid.
func (g *Sessions) Token(ctx context.Context, req credential.Request) (credential.Token, error) {
	r, err := sessionRequest(req)
	if err != nil {
		return credential.Token{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, httpclient.MaxWait)
	defer cancel()
	return httpclient.Retry(ctx, func(ctx context.Context) (credential.Token, error) { return g.attempt(ctx, r) })
}

// Reject forgets a session that the gateway refused, so that it is not renewed.
func (g *Sessions) Reject(_ credential.Request, print string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for repo, session := range g.last {
		if session.Fingerprint() == print {
			delete(g.last, repo)
		}
	}
}

func sessionRequest(req credential.Request) (api.SessionRequest, error) {
	if req.Operation != protocol.OperationAPI || req.Path == "" {
		return api.SessionRequest{}, nil
	}
	owner, name, ok := gitname.Path(req.Path)
	r := api.SessionRequest{Repo: api.Repo{Owner: owner, Name: name}}
	if !ok || !r.Repo.IsValid() {
		return r, usererr.New("get a session for "+req.Path, "the path is not owner/repository", "name it with --repo OWNER/NAME")
	}
	return r, nil
}

func (g *Sessions) attempt(ctx context.Context, r api.SessionRequest) (credential.Token, error) {
	session, err := g.prove(ctx, r)
	if isUnproved(err) {
		if before, attempt := g.before(r.Repo); !before.IsZero() {
			renewed, renewErr := g.request(ctx, r, func(body []byte) (*http.Response, []byte, error) {
				return g.renew(ctx, api.SessionPath, "Bearer "+before.Secret(), attempt, body)
			})
			if !isUnproved(renewErr) {
				session, err = renewed, renewErr
			}
		}
	}
	if err != nil {
		return credential.Token{}, err
	}
	g.keep(r.Repo, session)
	return session, nil
}

// prove requests a session with the workspace's identity.
func (g *Sessions) prove(ctx context.Context, r api.SessionRequest) (credential.Token, error) {
	authorization, err := g.identity.authorization(ctx)
	if err != nil {
		_, isPassing := errors.AsType[*httpclient.TransientError](err)
		_, isRefused := errors.AsType[api.Problem](err)
		if isPassing || isRefused {
			return credential.Token{}, err
		}
		return credential.Token{}, &noIdentity{err}
	}
	return g.request(ctx, r, func(body []byte) (*http.Response, []byte, error) {
		return g.callAs(ctx, api.SessionPath, authorization, body)
	})
}

// noIdentity reports why there is no identity to show, such as a missing file.
type noIdentity struct{ error }

func (e *noIdentity) Unwrap() error { return e.error }

// isUnproved reports whether the workspace has no identity that the broker accepts. It
// is false for transient errors and for refusals by the policy.
func isUnproved(err error) bool {
	if _, isMissing := errors.AsType[*noIdentity](err); isMissing {
		return true
	}
	problem, isProblem := errors.AsType[api.Problem](err)
	return isProblem && problem.Status == http.StatusUnauthorized
}

// before returns the previous session, if it is still valid, and the key of the attempt
// to renew it.
func (g *Sessions) before(repo api.Repo) (session credential.Token, attempt string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	last := g.last[repo]
	if last == nil || time.Until(last.Expiry) <= lastMoment {
		delete(g.last, repo)
		return credential.Token{}, ""
	}
	if last.attempt == "" {
		last.attempt = newAttempt()
	}
	return last.Token, last.attempt
}

func (g *Sessions) keep(repo api.Repo, session credential.Token) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.last == nil {
		g.last = map[api.Repo]*renewable{}
	}
	g.last[repo] = &renewable{Token: session}
}

// request makes one call. A transient error is a *[httpclient.TransientError].
func (g *Sessions) request(ctx context.Context, r api.SessionRequest, call func(body []byte) (*http.Response, []byte, error)) (credential.Token, error) {
	body, err := api.EncodeSessionRequest(r)
	if err != nil {
		return credential.Token{}, err
	}
	response, data, err := call(body)
	if err != nil {
		return credential.Token{}, err
	}
	if response.StatusCode == http.StatusOK {
		return g.acceptSession(response.Header, data)
	}
	if response.StatusCode == http.StatusNotFound {
		return credential.Token{}, usererr.New(g.what(), "it has no gateway", "ask the broker's operator to add gateway: {} to its configuration, or remove gateway from the workspace file")
	}
	refused, about := "it refuses a session", "a session"
	if r.Repo.IsValid() {
		refused, about = refused+" for "+r.Repo.String(), about+" for "+r.Repo.String()
	}
	return credential.Token{}, g.failure(response, data, refused, about)
}

// acceptSession checks an answer and returns its Token.
func (g *Sessions) acceptSession(header http.Header, body []byte) (credential.Token, error) {
	if !api.IsJSON(header.Get("Content-Type")) {
		return credential.Token{}, g.unexpectedAnswer("its answer is not JSON")
	}
	answer, err := api.DecodeGatewaySession(body)
	if err != nil {
		return credential.Token{}, g.unexpectedAnswer(err.Error())
	}
	ends, err := g.ends("session", header, answer.ExpiresAt)
	if err != nil {
		return credential.Token{}, err
	}
	if err := credential.CheckSecret(answer.Session.Reveal()); err != nil {
		return credential.Token{}, usererr.Wrap(g.what(), err, "")
	}
	session := credential.NewToken(answer.Session.Reveal(), ends)
	session.Refs, session.Author = answer.Refs, answer.Author.String()
	return session, nil
}
