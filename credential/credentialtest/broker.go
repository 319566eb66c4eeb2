package credentialtest

import (
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/credential"
)

// A Broker is an http.Handler that answers as a gatepass broker does and
// refuses every request that is not exactly to the contract. Serve it with
// httptest.NewTLSServer, or on a Unix socket. The zero Broker serves github.com
// to callers without an identity.
type Broker struct {
	// Hosts that are served; others get 204. Nil means github.com.
	Hosts []string
	// Identities maps bearer identities to workspaces; others get 401. Nil lets
	// everyone in, as the workspace "".
	Identities map[string]string
	// Mint makes a token. Nil makes a fresh one for the repository that was
	// asked for. An error that is an api.Problem is answered as it is; any other
	// is a 500 without detail.
	Mint func(workspace string, r api.TokenRequest) (api.TokenAnswer, error)
	// Begin makes a session of the gateway. Nil makes a fresh one, which is taken for its
	// own renewal. Errors are answered as those of Mint.
	Begin func(workspace string, r api.SessionRequest) (api.GatewaySession, error)

	mu       sync.Mutex // guards what follows
	failures []Failure
	requests []api.TokenRequest
	sessions []api.SessionRequest
	begun    map[string]string // sessions that are taken for their renewal, to their workspaces
	pushes   []api.RefusedPush
	invalid  []string
	calls    int
}

// A Failure is one answer of a broker in trouble.
type Failure struct {
	Status     int
	RetryAfter string // the header; empty leaves it out
	Detail     string
	// Handler, when set, answers in place of the fields above: with rubbish, a
	// redirect, or nothing.
	Handler http.Handler
}

// FailNext makes the next calls fail, one for each failure. Reports of refused
// pushes do not fail.
func (b *Broker) FailNext(failures ...Failure) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures = append(b.failures, failures...)
}

// Calls returns how many calls for tokens and sessions came, refused ones included.
func (b *Broker) Calls() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.calls
}

// Requests returns the well-formed requests that reached the host check, in
// their order.
func (b *Broker) Requests() []api.TokenRequest {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.requests)
}

// SessionRequests returns the well-formed requests for sessions, in their order.
func (b *Broker) SessionRequests() []api.SessionRequest {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.sessions)
}

// Pushes returns the refused pushes that were reported, in their order.
func (b *Broker) Pushes() []api.RefusedPush {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.pushes)
}

// Invalid returns why calls were against the contract, for a test to report.
func (b *Broker) Invalid() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.invalid)
}

// ServeHTTP implements http.Handler.
func (b *Broker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == api.RefusedPushesPath {
		b.hear(w, r)
		return
	}
	if failure, ok := b.nextFailure(); ok {
		failure.ServeHTTP(w, r)
		return
	}
	if r.URL.Path == api.SessionPath {
		b.begin(w, r)
		return
	}
	if r.URL.Path != api.TokenPath {
		b.refuse(w, api.NewProblem(http.StatusNotFound, "the paths are "+api.TokenPath+", "+api.SessionPath+" and "+api.RefusedPushesPath))
		return
	}
	workspace, ok := b.identify(w, r)
	if !ok {
		return
	}
	request, err := api.TokenCall.Read(w, r)
	if err != nil {
		b.refuse(w, err)
		return
	}
	b.answer(w, workspace, request)
}

func (b *Broker) nextFailure() (Failure, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	if len(b.failures) == 0 {
		return Failure{}, false
	}
	failure := b.failures[0]
	b.failures = b.failures[1:]
	return failure, true
}

// identify answers where ok is false.
func (b *Broker) identify(w http.ResponseWriter, r *http.Request) (workspace string, ok bool) {
	if b.Identities == nil {
		return "", true
	}
	if workspace, ok = b.Identities[api.Bearer(r)]; !ok {
		w.Header().Set("WWW-Authenticate", "Bearer")
		_ = api.WriteProblem(w, api.NewProblem(http.StatusUnauthorized, "unknown identity"))
	}
	return workspace, ok
}

// begin answers a request for a session. It takes a session of its own as well, for the
// renewal.
func (b *Broker) begin(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	workspace, ok := b.begun[api.Bearer(r)]
	b.mu.Unlock()
	if !ok {
		if workspace, ok = b.identify(w, r); !ok {
			return
		}
	}
	request, err := api.SessionCall.Read(w, r)
	if err != nil {
		b.refuse(w, err)
		return
	}
	b.mu.Lock()
	b.sessions = append(b.sessions, request)
	n := len(b.sessions)
	b.mu.Unlock()
	begin := b.Begin
	if begin == nil {
		begin = func(workspace string, _ api.SessionRequest) (api.GatewaySession, error) {
			return FreshSession(n, workspace), nil
		}
	}
	answer, err := begin(workspace, request)
	if err != nil {
		writeError(w, err)
		return
	}
	b.mu.Lock()
	if b.begun == nil {
		b.begun = map[string]string{}
	}
	b.begun[answer.Session.Reveal()] = workspace
	b.mu.Unlock()
	_ = api.WriteGatewaySession(w, answer) // a client that left has no use for the error
}

// hear answers a report of a refused push.
func (b *Broker) hear(w http.ResponseWriter, r *http.Request) {
	if _, ok := b.identify(w, r); !ok {
		return
	}
	push, err := api.RefusedPushCall.Read(w, r)
	if err != nil {
		b.refuse(w, err)
		return
	}
	b.mu.Lock()
	b.pushes = append(b.pushes, push)
	b.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

func (b *Broker) answer(w http.ResponseWriter, workspace string, r api.TokenRequest) {
	n := b.record(r)
	hosts := b.Hosts
	if hosts == nil {
		hosts = []string{"github.com"}
	}
	if !slices.Contains(hosts, r.Host) {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	mint := b.Mint
	if mint == nil {
		mint = func(string, api.TokenRequest) (api.TokenAnswer, error) { return FreshAnswer(n, r), nil }
	}
	answer, err := mint(workspace, r)
	if err != nil {
		writeError(w, err)
		return
	}
	_ = api.WriteAnswer(w, answer) // a client that left has no use for the error
}

func (b *Broker) record(r api.TokenRequest) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.requests = append(b.requests, r)
	return len(b.requests)
}

func (b *Broker) refuse(w http.ResponseWriter, err error) {
	b.mu.Lock()
	b.invalid = append(b.invalid, err.Error())
	b.mu.Unlock()
	writeError(w, err)
}

func writeError(w http.ResponseWriter, err error) {
	problem, ok := err.(api.Problem)
	if !ok {
		problem = api.NewProblem(http.StatusInternalServerError, "")
	}
	_ = api.WriteProblem(w, problem) // as above
}

// ServeHTTP answers with the failure.
func (f Failure) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f.Handler != nil {
		f.Handler.ServeHTTP(w, r)
		return
	}
	if f.RetryAfter != "" {
		w.Header().Set("Retry-After", f.RetryAfter)
	}
	_ = api.WriteProblem(w, api.NewProblem(f.Status, f.Detail)) // as above
}

// FreshAnswer is what a broker answers when all is well: the n-th token, for
// the repository and operation of r, for an hour.
func FreshAnswer(n int, r api.TokenRequest) api.TokenAnswer {
	return api.TokenAnswer{
		Username: credential.DefaultUsername, Token: api.NewSecret(Secret(n)),
		ExpiresAt:    time.Now().Add(credential.Lifetime).Truncate(time.Second),
		Repositories: []string{r.Repo.String()}, Permissions: map[string]string{"contents": r.Operation},
	}
}

// FreshSession is what a broker answers when all is well: the n-th session of the gateway,
// for 15 minutes.
func FreshSession(n int, workspace string) api.GatewaySession {
	return api.GatewaySession{
		Session: api.NewSecret("gpg_test-" + strconv.Itoa(n)), ExpiresAt: time.Now().Add(15 * time.Minute).Truncate(time.Second),
		Workspace: workspace, Refs: []string{"agent/**"}, Author: api.Author{Name: "bot[bot]", Email: "1+bot[bot]@users.noreply.example.com"},
	}
}

// Busy returns a 503 that asks to come again in some seconds.
func Busy(seconds int) Failure {
	return Failure{Status: http.StatusServiceUnavailable, RetryAfter: strconv.Itoa(seconds), Detail: "GitHub cannot be had"}
}
