package rest

import (
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/test/fakegithub/hub"
)

// generous is a profile with every permission of calls that move refs, except
// deployments: see TestDeploymentsMoveRefsWhereTheProfileNamesThem.
const generous = "{allowedRepos: [acme/widgets], permissions: {contents: write, issues: write, pull_requests: write, actions: write, checks: write, statuses: write, " +
	"security_events: write, administration: write, merge_queues: write, workflows: write, pages: write, environments: write}}"

// newHubGate makes a gate with a double that has all of GitHub's API.
func newHubGate(t *testing.T, profile string) (*gate, *hub.Hub) {
	t.Helper()
	g := newGate(t, profile)
	h, err := hub.Attach(g.Server)
	if err != nil {
		t.Fatal(err)
	}
	return g, h
}

func (g *gate) refs(h *hub.Hub) map[string]string {
	g.t.Helper()
	refs, err := h.Refs("acme", "widgets")
	if err != nil {
		g.t.Fatal(err)
	}
	return refs
}

// move sends a call through the gateway, and reports whether a ref moved.
func (g *gate) move(h *hub.Hub, session string, m hub.Move) (answer, bool) {
	g.t.Helper()
	call, err := m.Prepare(h, "acme", "widgets")
	if err != nil {
		g.t.Fatal(err)
	}
	before := g.refs(h)
	path := "/api/v3" + call.Path
	if m.GraphQL() {
		path = "/api/graphql"
	}
	got := g.ask(session, call.Method, path, string(call.Body))
	g.checkNoToken(got)
	if err := m.Settle(h, "acme", "widgets"); err != nil {
		g.t.Fatal(err)
	}
	return got, !maps.Equal(before, g.refs(h))
}

// The token is the protection: each call of GitHub's API that moves a ref reaches
// GitHub, fails there, and moves nothing, whatever else the profile allows.
func TestNoCallMovesARef(t *testing.T) {
	t.Parallel()
	g, h := newHubGate(t, generous)
	session := g.Session("acme/widgets")
	for _, m := range hub.Moves() {
		if m.Fence == "deployments" {
			continue
		}
		got, moved := g.move(h, session, m)
		isRefused := got.status == http.StatusForbidden && strings.Contains(got.body, "Resource not accessible by integration") || m.GraphQL() && strings.Contains(got.body, `"errors"`)
		if moved || !isRefused || got.header.Get(DecisionHeader) != "" {
			t.Errorf("%s: moved: %v; %d %s", m.Name, moved, got.status, got.body)
		}
	}
}

// A deployment merges the default branch into its branch. This is the only way to move
// a ref, and only for profiles that name the permission.
func TestDeploymentsMoveRefsWhereTheProfileNamesThem(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		profile string
		moves   bool
	}{
		{generous, false},
		{strings.Replace(generous, "pages: write", "deployments: read", 1), false},
		{strings.Replace(generous, "pages: write", "deployments: write", 1), true},
	} {
		g, h := newHubGate(t, c.profile)
		session := g.Session("acme/widgets")
		for _, m := range hub.Moves() {
			if m.Fence != "deployments" {
				continue
			}
			if got, moved := g.move(h, session, m); moved != c.moves {
				t.Errorf("%s with %s: moved: %v; %d %s", m.Name, c.profile, moved, got.status, got.body)
			}
		}
	}
}
