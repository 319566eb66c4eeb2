package console

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/identity"
	"github.com/gatepass/gatepass/broker/identity/aws"
	"github.com/gatepass/gatepass/broker/revoke"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/brokertest"
)

const webhookSecret = "webhook-secret-0123456789"

// bench is a replica with a console.
type bench struct {
	*brokertest.Broker
	console  *Console
	sessions *identity.SessionIdentifier
}

func newReplica(g *brokertest.GitHub) *bench {
	g.T.Helper()
	return newReplicaOn(g, g.Store)
}

// newReplicaOn makes a replica whose console has its own store.
func newReplicaOn(g *brokertest.GitHub, s store.Store) *bench {
	g.T.Helper()
	recorder := new(Recorder)
	b := &bench{Broker: brokertest.NewBroker(g, func(j broker.Journal) broker.Journal {
		recorder.Next = j
		return recorder
	})}
	revoker := revoke.New(revoke.Config{
		Store: s, App: b.App, Blocklist: b.Blocklist, Cache: b.Cache, Journal: recorder, Log: b.Server.Log,
		Policy: func() string { return b.Policy.Hash }, Issuer: b.Issuer, Secret: func() (string, error) { return webhookSecret, nil }, Now: g.Now,
	})
	b.console = New(Options{Server: b.Server, Store: g.Store, App: b.App, Revoker: revoker, Recorder: recorder, AuditHead: func() string { return "head-of-the-chain" }})
	b.Server.Mounted = b.console.Routes()
	keys := &identity.Keyset{Store: g.Store, Now: g.Now}
	b.sessions = &identity.SessionIdentifier{Keys: keys, Now: g.Now}
	desk := &identity.Exchanger{Sessions: b.sessions, Store: g.Store, Policy: b.Server.Policy, Blocker: b.Blocklist, Journal: b.Server.Journal}
	b.Server.Extra = map[string]broker.Endpoint{
		api.ExchangePath: desk.Endpoint(), api.NoncePath: (&aws.Nonces{Keys: keys, Now: g.Now}).Endpoint(), revoke.WebhookPath: revoker.Webhook(),
	}
	b.Policy.Rules = append(b.Policy.Rules, broker.Rule{Name: "joined", By: b.sessions, Method: identity.JoinMethod, Match: (identity.JoinSettings{}).Match("joined"), Workspace: "{claim.workspace}", Profile: b.Policy.Rules[1].Profile})
	return b
}

func newBench(t *testing.T) *bench {
	t.Helper()
	return newReplica(brokertest.NewGitHub(t))
}

// operate calls an endpoint as the operator, checks the status, and decodes the answer.
func operate[T any](b *bench, method, target, body string, status int) T {
	b.T.Helper()
	got := b.Do("night", method, target, body)
	var answer T
	if got.Code != status {
		b.T.Fatalf("%s %s %s = %d %s, want %d", method, target, body, got.Code, got.Body, status)
	}
	if err := json.Unmarshal(got.Body.Bytes(), &answer); err != nil && got.Body.Len() > 0 {
		b.T.Fatalf("%s %s answers %q: %v", method, target, got.Body, err)
	}
	return answer
}

// alive returns the hashes of the tokens that GitHub accepts.
func (b *bench) alive() []string {
	hashes := []string{}
	for _, t := range b.Tokens() {
		hashes = append(hashes, t.Hash)
	}
	slices.Sort(hashes)
	return hashes
}

func wantCode(t testing.TB, what string, got *httptest.ResponseRecorder, want int) {
	t.Helper()
	if got.Code != want {
		t.Errorf("%s: %d %s, want %d", what, got.Code, got.Body, want)
	}
}

var operatorsOnly = []struct{ method, path, body string }{
	{http.MethodGet, api.WorkspacesPath, ""},
	{http.MethodPost, api.WorkspacesPath + "/sb-1/revoke", ""},
	{http.MethodDelete, api.WorkspacesPath + "/sb-1/block", ""},
	{http.MethodDelete, api.WorkspacesPath + "/sb-1/bar", ""},
	{http.MethodPost, api.KillPath, `{"workspace":"sb-1"}`},
	{http.MethodPost, api.UnblockPath, `{"workspace":"sb-1"}`},
	{http.MethodPost, api.AdmitPath, `{"workspace":"sb-1"}`},
	{http.MethodPost, api.ExplainPath, `{"host":"github.com","repo":"acme/widgets","operation":"read","claims":{"id":"ci"}}`},
}

func TestOperatorsOnly(t *testing.T) {
	b := newBench(t)
	b.MustToken("sb-1", "acme/widgets", "read")
	for _, c := range operatorsOnly {
		for who, want := range map[string]int{"": 401, "sb-1": 401, "forged": 401} {
			wantCode(t, c.method+" "+c.path+" by "+who, b.Do(who, c.method, c.path, c.body), want)
		}
	}
	if n := len(b.alive()); n != 1 {
		t.Errorf("%d tokens are alive, want the one", n)
	}
	b.Policy = &broker.Policy{Hash: "without operators", Rules: b.Policy.Rules, Hosts: b.Policy.Hosts}
	for _, c := range operatorsOnly {
		wantCode(t, c.method+" "+c.path+" without operators", b.Do("night", c.method, c.path, c.body), 403)
	}
	wantCode(t, "the page without operators", b.Do("night", "GET", "/", ""), 403)
	for _, e := range b.Journal.Of(broker.KindRequest)[1:] {
		if e.Decision != broker.Refused || e.Operation == "" {
			t.Errorf("the journal has %+v, want refusals", e)
		}
	}
}

func TestOtherMethodsAndBodies(t *testing.T) {
	b := newBench(t)
	for _, c := range []struct {
		method, path, body string
		want               int
	}{
		{"PUT", api.WorkspacesPath, "", 405},
		{"GET", api.KillPath, "", 405},
		{"DELETE", api.ExplainPath, "", 405},
		{"POST", api.OpenAPIPath, "", 405},
		{"POST", api.KillPath, `{}`, 400},
		{"POST", api.KillPath, `{"app":true,"owner":"acme"}`, 400},
		{"POST", api.KillPath, `{"app":false}`, 400},
		{"POST", api.KillPath, `{"owner":"../acme"}`, 400},
		{"POST", api.KillPath, `{"everything":true}`, 400},
		{"POST", api.KillPath, `{"app":true}{}`, 400},
		{"POST", api.KillPath, `["app"]`, 400},
		{"POST", api.WorkspacesPath + "/..%2Fx/revoke", "", 400},
		{"GET", api.WorkspacesPath + "?limit=0", "", 400},
		{"GET", api.WorkspacesPath + "?limit=501", "", 400},
		{"GET", api.WorkspacesPath + "?after=..%2F", "", 400},
	} {
		got := b.Do("night", c.method, c.path, c.body)
		wantCode(t, c.method+" "+c.path+" "+c.body, got, c.want)
		if kind := got.Header().Get("Content-Type"); kind != api.ProblemMediaType {
			t.Errorf("%s %s answers %q, want a problem document", c.method, c.path, kind)
		}
	}
	blocks, err := b.Blocklist.All(t.Context())
	if err != nil || !blocks.IsEmpty() {
		t.Errorf("blocked is %+v, %v, want no blocks", blocks, err)
	}
}

// Another site's page in a browser with a client certificate is refused.
func TestCrossOriginIsRefused(t *testing.T) {
	b := newBench(t)
	r := httptest.NewRequest("POST", api.WorkspacesPath+"/sb-1/revoke", nil)
	r.Header.Set("Authorization", "Bearer "+brokertest.OperatorToken)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	w := httptest.NewRecorder()
	b.Handler().ServeHTTP(w, r)
	wantCode(t, "a form of another site", w, 403)
	if kind := w.Header().Get("Content-Type"); kind != api.ProblemMediaType {
		t.Errorf("the answer is %q, want a problem document", kind)
	}
}

// The broker must answer what a person, or a filter before the broker, reads in the
// request: a query has only known keys, each once, as a body has.
func TestQueriesHaveKnownKeysOnce(t *testing.T) {
	b := newBench(t)
	for path, want := range map[string]int{
		"/v1/workspaces?limit=1":                                200,
		"/v1/workspaces?limit=1&limit=2":                        400,
		"/v1/workspaces?Limit=1":                                400,
		"/v1/workspaces?prefix=sb-1&pre%66ix=":                  400,
		"/v1/workspaces?limit=1;prefix=sb":                      400,
		"/v1/workspaces?prefix=%zz":                             400,
		"/v1/workspaces?owner=acme":                             400,
		"/v1/explain?host=github.com&repo=acme/widgets":         200,
		"/v1/explain?host=github.com&repo=acme/widgets&repo=x":  400,
		"/v1/explain?host=github.com&repo=acme/widgets&REPO=x":  400,
		"/v1/explain?host=github.com&repo=acme/widgets&claim=x": 400,
	} {
		who := "night"
		if path[:5] == "/v1/e" {
			who = "ci"
		}
		wantCode(t, path, b.Do(who, "GET", path, ""), want)
	}
}
