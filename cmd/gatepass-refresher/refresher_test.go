package main

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/workspace"
)

func TestRefreshLogsWhatItDoes(t *testing.T) {
	w := newWorld(t)
	w.settle("sb-1", "sb-2")
	before := w.token("sb-1")
	r := w.refresher()
	made, err := w.refresh(r, request{})
	if err != nil || made.Due != 2 || made.Refreshed != 2 || made.Minted != 2 || made.Soonest == nil || time.Until(*made.Soonest) < 55*time.Minute {
		t.Errorf("refresh = %+v, %v, want two minted", made, err)
	}
	if w.token("sb-1") == before {
		t.Error("sb-1 reads the old token")
	}
	if n := w.log.count("token_generated"); n != 2 || w.log.count("round") != 1 {
		t.Errorf("the log has %d mints:\n%s", n, w.log)
	}
	for _, want := range []string{`"hashed_token":"` + fakegithub.Hash(w.token("sb-1")) + `"`, `"workspace":"sb-2"`, `"minted":2`, `"repositories":["acme/widgets"]`} {
		if !strings.Contains(w.log.String(), want) {
			t.Errorf("the log does not say %s:\n%s", want, w.log)
		}
	}
	if again, err := w.refresh(r, request{}); err != nil || again.Due != 0 || again.Minted != 0 || w.asked() != 2 {
		t.Errorf("another round = %+v, %v, want nothing due", again, err)
	}
}

// The whole life of workspaces, with every failure, and no token in the log or the
// report.
func TestNoTokenIsEverLogged(t *testing.T) {
	w := newWorld(t)
	w.settle("sb-1", "sb-2", "sb-3")
	r := w.refresher("--grace", "0", "--adopt")
	var shown []string
	round := func(q request) {
		made, err := w.refresh(r, q)
		r.logFailures(made)
		shown = append(shown, made.String())
		if err != nil {
			shown = append(shown, err.Error())
		}
		for _, f := range made.Failures {
			shown = append(shown, f.Error)
		}
	}
	w.Fail(fakegithub.To(http.MethodPost, "/access_tokens"), fakegithub.Truncate(60), 1)
	round(request{})
	w.Fail(fakegithub.To(http.MethodDelete, "/installation/token"), fakegithub.Status(http.StatusForbidden), 1)
	round(request{force: true})
	w.RemoveKey(w.app.ID, &testKey.PublicKey)
	round(request{force: true})
	if err := w.AddKey(w.app.ID, &testKey.PublicKey); err != nil {
		t.Fatal(err)
	}
	only, _ := store.OnlyToken("sb-9")
	w.put(only, w.token("sb-1")) // as another system would deliver it
	round(request{workspace: "sb-9", frozen: &frozen{repositories: []string{"octo/widgets"}, verbs: []string{"push"}}})
	round(request{workspace: "nobody"})
	text := w.log.String() + strings.Join(shown, "\n")
	for _, want := range []string{"token_generated", "token_generation_failed", "token_revoked", "token_lost", "workspace_created", "workspace_failed", "the ledger does not have it"} {
		if !strings.Contains(text, want) {
			t.Errorf("nothing is said of %s:\n%s", want, text)
		}
	}
	if strings.Contains(text, "ghs_") {
		t.Errorf("a token is shown:\n%s", text)
	}
}

// Decisions use the current configuration: a workspace that was created before the App
// gets its tokens as soon as there is an App.
func TestAWorkspaceFromBeforeTheAppHeals(t *testing.T) {
	w := newWorld(t)
	w.settle("sb-1")
	if err := w.store.Delete(t.Context(), store.AppClientID()); err != nil {
		t.Fatal(err)
	}
	r := w.refresher()
	made, err := w.refresh(r, request{})
	if !errors.Is(err, store.ErrNotFound) || made.Failed != 1 || !strings.Contains(made.Unready, "gatepass app create") {
		t.Errorf("without an App refresh = %+v, %v, want what to do", made, err)
	}
	w.saveApp(w.app.ClientID)
	if made, err := w.refresh(r, request{}); err != nil || made.Minted != 1 || made.Unready != "" {
		t.Errorf("with one refresh = %+v, %v, want the token", made, err)
	}
}

// Of two rounds only the first signs: a KMS charges for each signature.
func TestTheAppIsKept(t *testing.T) {
	w := newWorld(t)
	w.settle("sb-1", "sb-2")
	r := w.refresher()
	var first string
	for range 3 {
		w.ResetRequests()
		if made, err := w.refresh(r, request{force: true}); err != nil || made.Minted != 2 {
			t.Fatalf("refresh = %+v, %v, want two minted", made, err)
		}
		for _, q := range w.Requests() {
			if !strings.HasSuffix(q.Path, "/access_tokens") {
				continue
			}
			if first == "" {
				first = q.Hash
			}
			if q.Hash != first {
				t.Error("a second JWT was signed")
			}
		}
	}
	if err := w.store.Delete(t.Context(), store.GitHubURL()); err != nil {
		t.Fatal(err)
	}
	w.put(store.GitHubURL(), w.URL()+"/")
	if made, err := w.refresh(r, request{}); err != nil || made.Failed != 0 {
		t.Errorf("another address of GitHub: %+v, %v, want it used", made, err)
	}
}

func TestRoundsThatFailAsAWhole(t *testing.T) {
	for _, c := range []struct {
		name    string
		ids     []string
		break_  func(w *world)
		isWhole bool
		want    string
	}{
		{"the repository of the only one due is gone", []string{"sb-1"}, func(w *world) { w.renameRepository() }, false, ""},
		{"the App's key is another", []string{"sb-1"}, func(w *world) { w.RemoveKey(w.app.ID, &testKey.PublicKey) }, true, "gatepass app key check"},
		{"GitHub is down", []string{"sb-1"}, func(w *world) {
			w.Fail(fakegithub.To("", ""), fakegithub.Status(http.StatusBadGateway), -1)
		}, true, "githubstatus"},
		{"no workspace gets its token", []string{"sb-1", "sb-2"}, func(w *world) { w.renameRepository() }, true, "find acme/widgets"},
		{"the limit is used up", []string{"sb-1", "sb-2"}, func(w *world) {
			w.Fail(fakegithub.To("", ""), fakegithub.RateLimited(time.Hour), -1)
		}, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // it waits
				w := newWorld(t)
				w.settle(c.ids...)
				c.break_(w)
				made, err := w.refresh(w.refresher(), request{})
				if (err != nil) != c.isWhole || err != nil && !strings.Contains(err.Error(), c.want) {
					t.Errorf("refresh = %+v, %v, want a failure: %v, with %q", made, err, c.isWhole, c.want)
				}
				if made.Due != len(c.ids) || made.Refreshed != 0 || made.Failed+made.Deferred != len(c.ids) {
					t.Errorf("refresh = %+v, want all failed or deferred", made)
				}
			})
		})
	}
}

// renameRepository makes GitHub forget the name of the workspaces' repository.
func (w *world) renameRepository() {
	w.t.Helper()
	if err := w.RemoveRepository("acme", "widgets"); err != nil {
		w.t.Fatal(err)
	}
}

func TestRefreshOne(t *testing.T) {
	w := newWorld(t)
	w.settle("sb-1", "sb-2")
	r := w.refresher()
	if made, err := w.refresh(r, request{workspace: "sb-2"}); err != nil || made.Workspaces != 1 || made.Minted != 1 || w.asked() != 1 {
		t.Errorf("refresh of sb-2 = %+v, %v, want its token only", made, err)
	}
	if made, err := w.refresh(r, request{workspace: "sb-2", force: true}); err != nil || made.Minted != 1 {
		t.Errorf("refresh by force = %+v, %v, want another token", made, err)
	}
	made, err := w.refresh(r, request{workspace: "sb-9"})
	if !errors.Is(err, errUnknown) || !strings.Contains(err.Error(), "gatepass workspace create PROFILE --id sb-9") || made.Workspaces != 0 {
		t.Errorf("refresh of an unknown workspace = %+v, %v, want what to do", made, err)
	}
}

// A payload that was frozen when a workspace was created decides only which workspace
// is meant.
func TestRefreshFrozen(t *testing.T) {
	w := newWorld(t)
	w.settle("sb-1")
	lies := &frozen{parameter: "/sandbox/sb-1/github-token", repositories: []string{"octo/*"}, levels: map[string]string{"contents": "admin"}}
	made, err := w.refresh(w.refresher("--adopt"), request{workspace: "sb-1", frozen: lies})
	if err != nil || made.Minted != 1 {
		t.Errorf("refresh = %+v, %v, want one minted", made, err)
	}
	r, err := (&workspace.Issuer{Store: w.store}).Load(t.Context(), "sb-1")
	if err != nil || len(r.Repositories) != 1 || r.Repositories[0].String() != "acme/widgets" || r.Permissions.Levels()["contents"] != "write" {
		t.Errorf("the record = %+v, %v, want it as it was", r, err)
	}
}

func TestAdoption(t *testing.T) {
	w := newWorld(t)
	w.settle()
	f := &frozen{repositories: []string{"github.com/octo/widgets"}, verbs: []string{"clone"}}
	if made, err := w.refresh(w.refresher(), request{workspace: "sb-7", frozen: f}); !errors.Is(err, errUnknown) || !strings.Contains(err.Error(), "GATEPASS_ADOPT=true") {
		t.Errorf("refresh without --adopt = %+v, %v, want what to do", made, err)
	}
	r := w.refresher("--adopt")
	if made, err := w.refresh(r, request{workspace: "sb-7", frozen: &frozen{verbs: []string{"clone"}}}); err == nil || made.Minted != 0 {
		t.Errorf("refresh of a payload without repositories = %+v, %v, want a refusal", made, err)
	}
	if made, err := w.refresh(r, request{workspace: "sb-8"}); !errors.Is(err, errUnknown) {
		t.Errorf("refresh of no payload = %+v, %v, want errUnknown", made, err)
	}
	if made, err := w.refresh(r, request{workspace: "sb-7", frozen: f}); err != nil || made.Minted != 1 || made.Refreshed != 1 || w.log.count("workspace_created") != 1 {
		t.Errorf("refresh = %+v, %v, want the workspace made", made, err)
	}
	// From then on, its record counts.
	f.repositories = []string{"acme/widgets"}
	if made, err := w.refresh(r, request{workspace: "sb-7", frozen: f}); err != nil || made.Minted != 0 {
		t.Errorf("refresh by another payload = %+v, %v, want nothing done", made, err)
	}
}

// If another system also delivers to a sandbox, the log names the sandbox, it counts as
// failed, and the other's token lives on, until --adopt is given.
func TestRefreshLeavesAnotherSystemsToken(t *testing.T) {
	w := newWorld(t)
	w.settle("sb-1")
	if _, err := w.refresh(w.refresher(), request{}); err != nil {
		t.Fatal(err)
	}
	name, err := store.OnlyToken("sb-1")
	if err != nil {
		t.Fatal(err)
	}
	installed, err := workspace.StoredInstallations(t.Context(), w.store)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := w.MintFor(installed[0].ID, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.put(name, theirs)
	made, _ := w.refresh(w.refresher(), request{workspace: "sb-1"})
	if made.Failed != 1 || len(made.Failures) != 1 || !strings.Contains(made.Failures[0].Error, "gatepass did not write") {
		t.Errorf("refresh = %+v, want it failed, and why", made)
	}
	if entry, err := w.store.Get(t.Context(), name); err != nil || entry.Value.Reveal() != theirs {
		t.Errorf("the other's token is gone: %v", err)
	}
	if made, err := w.refresh(w.refresher("--adopt"), request{}); err != nil || made.Refreshed != 1 {
		t.Errorf("refresh with --adopt = %+v, %v, want it taken over", made, err)
	}
	if entry, err := w.store.Get(t.Context(), name); err != nil || entry.Value.Reveal() == theirs {
		t.Errorf("the other's token is still there: %v", err)
	}
}

func TestThePayloadsParameter(t *testing.T) {
	for _, c := range []struct{ store, parameter, want string }{
		{"ssm:///km?workspaces=/", "/sandbox/sb-1/github-token", ""},
		{"ssm:///km?region=us-east-1", "/km/sandbox/sb-1/github-token", ""},
		{"ssm:///km", "", ""},
		{"ssm:///km", "/sandbox/sb-1/github-token", "add workspaces=/"},
		{"ssm:///km?workspaces=/", "/sandbox/sb-2/github-token", "delivered to /sandbox/sb-1/github-token"},
		{"file:///var/lib/gatepass", "/sandbox/sb-1/github-token", "the payload names an SSM parameter, but the store is not in SSM"},
		{"vault://secret/km", "/sandbox/sb-1/github-token", "the payload names an SSM parameter, but the store is not in SSM"},
	} {
		r := &refresher{address: c.store}
		err := r.checkParameter(request{workspace: "sb-1", frozen: &frozen{parameter: c.parameter}})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, delivered by %s: %v, want %q", c.parameter, c.store, err, c.want)
		}
	}
}
