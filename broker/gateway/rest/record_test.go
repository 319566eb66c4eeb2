package rest

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/broker"
)

// A change is recorded before GitHub is asked, and again with GitHub's answer. Queries,
// bodies and reads are not.
func TestChangesAreWrittenDownBeforeAndAfter(t *testing.T) {
	t.Parallel()
	g := newGate(t, working)
	status, body := http.StatusCreated, "{}"
	var before []broker.Entry
	g.script(func(w http.ResponseWriter, r *http.Request) {
		before = g.Journal.Of(broker.KindAPI)
		w.Header().Set("Content-Type", "application/json")
		if status == 0 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	})
	session := g.Session("acme/widgets")
	for _, c := range []struct {
		name, method, path string
		status             int
		body               string
		operation, outcome string
	}{
		{"a pull request", "POST", "/api/v3/repos/acme/widgets/pulls?secret=1", 201, "{}", "POST /repos/acme/widgets/pulls", broker.OutcomeOK},
		{"a refusal of GitHub's", "PUT", "/api/v3/repos/acme/widgets/pulls/1/merge", 403, "{}", "PUT /repos/acme/widgets/pulls/1/merge", broker.OutcomeRefused},
		{"a failure of GitHub's", "PATCH", "/api/v3/repos/acme/widgets/issues/1", 502, "{}", "PATCH /repos/acme/widgets/issues/1", broker.OutcomeUnknown},
		{"no answer", "DELETE", "/api/v3/repos/acme/widgets/issues/1/lock", 0, "", "DELETE /repos/acme/widgets/issues/1/lock", broker.OutcomeUnknown},
		{"GraphQL", "POST", "/api/graphql", 200, `{"data":{}}`, "POST /graphql", broker.OutcomeOK},
		{"GraphQL with errors", "POST", "/api/graphql", 200, `{"data":null,"errors":[{}]}`, "POST /graphql", broker.OutcomeRefused},
	} {
		status, body = c.status, c.body
		was := len(g.Journal.Of(broker.KindAPI))
		got := g.ask(session, c.method, c.path, `{"title":"TITLE"}`)
		entries := g.Journal.Of(broker.KindAPI)[was:]
		if len(before) != was+1 || len(entries) != 2 {
			t.Fatalf("%s: %d entries before and %d in all, want 1 and 2", c.name, len(before)-was, len(entries))
		}
		for i, e := range entries {
			want := []string{"", c.outcome}[i]
			if e.Operation != c.operation || e.Outcome != want || e.Decision != broker.Granted || e.Workspace != "sb-agent" || e.Repository != "acme/widgets" || e.RepositoryID == 0 || e.RequestID != got.header.Get("X-Request-Id") || e.Hash == "" || e.Rule != "agents" {
				t.Errorf("%s: entry %d is %+v, want the outcome %q", c.name, i+1, e, want)
			}
		}
	}
	was := len(g.Journal.Of(broker.KindAPI))
	g.ask(session, http.MethodGet, "/api/v3/repos/acme/widgets", "")
	if n := len(g.Journal.Of(broker.KindAPI)); n != was {
		t.Errorf("a read is written down %d times", n-was)
	}
	g.ask(session, http.MethodPost, "/api/v3/repos/acme/other/pulls", "{}")
	if e := g.Journal.Of(broker.KindAPI)[was:]; len(e) != 1 || e[0].Decision != broker.Refused || e[0].Reason != broker.ReasonRepository || e[0].Repository != "acme/other" {
		t.Errorf("a refused change: %+v", e)
	}
	for _, e := range g.Journal.Of(broker.KindAPI) {
		if text := e.Operation + e.Detail; strings.Contains(text, "secret") || strings.Contains(text, "TITLE") {
			t.Errorf("the log has a query or a body: %s", text)
		}
	}
}

// A change that cannot be recorded does not happen.
func TestWithoutTheAuditLogNothingChanges(t *testing.T) {
	t.Parallel()
	g := newGate(t, working)
	seen := g.script(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "{}") })
	session := g.Session("acme/widgets")
	if got := g.ask(session, http.MethodGet, "/api/v3/repos/acme/widgets", ""); got.status != http.StatusOK {
		t.Fatal(got)
	}
	g.Journal.Fail(errors.New("the disk is full"))
	for _, path := range []string{"/api/v3/repos/acme/widgets/pulls", "/api/graphql", "/api/v3/repos/acme/other/pulls"} {
		g.checkRefused(path, g.ask(session, http.MethodPost, path, "{}"), http.StatusServiceUnavailable, "audit log")
	}
	methods := []string{}
	for _, r := range seen() {
		methods = append(methods, r.Method)
	}
	if !slices.Equal(methods, []string{http.MethodGet}) {
		t.Errorf("GitHub was asked %v", methods)
	}
}

// A blocked workspace gets nothing, even with a session that has not expired.
func TestABlockedWorkspaceGetsNothing(t *testing.T) {
	t.Parallel()
	g := newGate(t, working)
	session := g.Session("acme/widgets")
	if got := g.ask(session, http.MethodGet, "/api/v3/repos/acme/widgets", ""); got.status != http.StatusOK {
		t.Fatal(got)
	}
	if err := g.Access.Broker.Blocklist.Block(t.Context(), "sb-agent"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/api/v3/repos/acme/widgets", "/api/v3/meta", "/api/v3/rate_limit", "/api/v3/user"} {
		g.checkRefused(path, g.ask(session, http.MethodGet, path, ""), http.StatusForbidden, "is blocked")
	}
	g.checkRefused("GraphQL", g.ask(session, http.MethodPost, "/api/graphql", "{}"), http.StatusForbidden, "is blocked")
}
