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

// A Broker is an http.Handler that answers like a gatepass broker and refuses every
// request that violates the contract. Serve it with httptest.NewTLSServer, or on a Unix
// socket. The zero Broker serves github.com to callers without an identity.
type Broker struct {
	// Hosts are the hosts that are served; others get 204. Nil means github.com.
	Hosts []string
	// Identities maps bearer identities to workspaces; others get 401. Nil accepts
	// every caller, as the workspace "".
	Identities map[string]string
	// Mint makes a token. Nil makes a fresh one for the requested repository. An error
	// that is an api.Problem is sent as it is; any other is a 500 without detail.
	Mint func(workspace string, r api.TokenRequest) (api.TokenAnswer, error)
	// Begin makes a session of the gateway. Nil makes a fresh one, which the Broker
	// accepts for its own renewal. Errors are sent as those of Mint.
	Begin func(workspace string, r api.SessionRequest) (api.GatewaySession, error)

	mu       sync.Mutex // guards the rest
	failures []Failure
	requests []api.TokenRequest
	sessions []api.SessionRequest
	begun    map[string]string // sessions that can be renewed, with their workspaces
	pushes   []api.RefusedPush
	invalid  []string
	calls    int
}

// A Failure is one error answer of a broker.
type Failure struct {
	Status     int
	RetryAfter string // the header; "" omits it
	Detail     string
	// Handler, if set, answers instead of the fields above: with invalid content, a
	// redirect, or nothing.
	Handler http.Handler
}

// FailNext makes the next calls fail, one for each failure. It does not affect reports
// of refused pushes.
func (b *Broker) FailNext(failures ...Failure) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures = append(b.failures, failures...)
}

// Calls returns the number of calls for tokens and sessions, including refused ones.
func (b *Broker) Calls() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.calls
}

// Requests returns the well-formed requests that reached the host check, in order.
func (b *Broker) Requests() []api.TokenRequest {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.requests)
}

// SessionRequests returns the well-formed requests for sessions, in order.
func (b *Broker) SessionRequests() []api.SessionRequest {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.sessions)
}

// Pushes returns the reported refused pushes, in order.
func (b *Broker) Pushes() []api.RefusedPush {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.pushes)
}

// Invalid returns how calls violated the contract, for a test to report.
func (b *Broker) Invalid() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.invalid)
}

// ServeHTTP implements http.Handler.
func (b *Broker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == api.RefusedPushesPath {
		b.receiveReport(w, r)
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

// identify sends an error answer if ok is false.
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

// begin answers a request for a session. It also accepts a session of its own, for the
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
	_ = api.WriteGatewaySession(w, answer) // the error means that the client closed the connection
}

// receiveReport answers a report of a refused push.
func (b *Broker) receiveReport(w http.ResponseWriter, r *http.Request) {
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
	_ = api.WriteAnswer(w, answer) // the error means that the client closed the connection
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

// FreshAnswer returns a broker's usual answer: the n-th token, for the repository and
// operation of r, valid for an hour.
func FreshAnswer(n int, r api.TokenRequest) api.TokenAnswer {
	return api.TokenAnswer{
		Username: credential.DefaultUsername, Token: api.NewSecret(Secret(n)),
		ExpiresAt:    time.Now().Add(credential.Lifetime).Truncate(time.Second),
		Repositories: []string{r.Repo.String()}, Permissions: map[string]string{"contents": r.Operation},
	}
}

// FreshSession returns a broker's usual answer: the n-th session of the gateway, valid
// for 15 minutes.
func FreshSession(n int, workspace string) api.GatewaySession {
	return api.GatewaySession{
		Session: api.NewSecret("gpg_test-" + strconv.Itoa(n)), ExpiresAt: time.Now().Add(15 * time.Minute).Truncate(time.Second),
		Workspace: workspace, Refs: []string{"agent/**"}, Author: api.Author{Name: "bot[bot]", Email: "1+bot[bot]@users.noreply.example.com"},
	}
}

// Busy returns a 503 that asks to try again after some seconds.
func Busy(seconds int) Failure {
	return Failure{Status: http.StatusServiceUnavailable, RetryAfter: strconv.Itoa(seconds), Detail: "GitHub is unavailable"}
}
