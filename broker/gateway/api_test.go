package gateway

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gatepass/gatepass/broker/gateway/rest"
	"github.com/gatepass/gatepass/test/brokertest"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// The path, and whether the host is api.NAME, decide which part of the gateway answers:
// git in text, the API in JSON, the broker in problem documents.
func TestWhichPartAnswers(t *testing.T) {
	t.Parallel()
	g := brokertest.NewGateway(t, fakegithub.Options{RESTOnly: true}, "{allowedRepos: [acme/widgets]}")
	served := New(g.Access, func() Settings { return Settings{Transfers: 8} }, rest.Options{})
	h := served.Handler(g.Access.Broker.Handler())
	const git, api, own = "text/plain; charset=utf-8", "application/json; charset=utf-8", "application/problem+json"
	for _, c := range []struct{ host, target, want string }{
		{"gate.example", "/acme/widgets.git/info/refs?service=git-upload-pack", git},
		{"gate.example", "/git/github.com/acme/widgets/info/refs?service=git-upload-pack", git},
		{"gate.example", "/git/x", git},
		{"gate.example", "/api/v3/repos/acme/widgets", api},
		{"gate.example", "/api/graphql", api},
		{"gate.example", "/api/v3/repos/acme/info/refs", api},
		{"gate.example", "/repos/acme/widgets", own},
		{"gate.example", "/v1/token", own},
		{"api.gate.example", "/repos/acme/widgets", api},
		{"api.gate.example", "/repos/acme/objects/issues", api},
		{"api.gate.example", "/repos/acme/HEAD", api},
		{"api.gate.example", "/graphql", api},
		{"api.gate.example", "/api/v3/user", api},
		{"api.gate.example", "/acme/widgets.git/info/refs?service=git-upload-pack", git},
		{"api.gate.example", "/git/github.com/acme/widgets/git-upload-pack", git},
		{"api.gate.example", "/v1/token", own},
	} {
		r := httptest.NewRequest(http.MethodGet, c.target, nil)
		r.Host = c.host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got := w.Header().Get("Content-Type"); got != c.want {
			t.Errorf("%s%s: %d %s: %s, want %s", c.host, c.target, w.Code, got, w.Body, c.want)
		}
	}
}
