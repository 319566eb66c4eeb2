package main

import (
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/cmd/gatepass/app"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// newDiscoverWorld has one account in every state.
func newDiscoverWorld(t *testing.T) (*storeWorld, map[string]string) {
	t.Helper()
	w := newStoreWorld(t)
	w.add()
	for login, id := range map[string]int64{"acme": 11, "Globex": 12, "initech": 13, "new-name": 14, "asleep": 15} {
		w.install(login, id)
	}
	if err := w.Suspend(15, true); err != nil {
		t.Fatal(err)
	}
	w.put(map[string]string{"installations/globex": "12", "installations/initech": "9", "installations/old-name": "14", "installations/gone": "16"})
	return w, w.kept()
}

func TestAppDiscover(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the command many times")
	}
	for _, c := range []struct {
		name    string
		args    []string
		changes map[string]string // "" is removed
		lines   []string
	}{
		{
			"plain", nil,
			map[string]string{"acme": "11", "new-name": "14"},
			[]string{
				"ACCOUNT TYPE ID REPOSITORIES STATE NOTE",
				"acme Organization 11 all added",
				"Globex Organization 12 all known",
				"initech Organization 13 all changed the store has 9",
				"new-name Organization 14 all added",
				"asleep Organization 15 all suspended since",
				"old-name - - - stale the installation is on new-name now",
				"gone - - - stale GitHub has no installation there",
				"2 added, 1 known, 1 changed, 2 stale, 1 suspended; --force replaces changed IDs; gatepass app discover --prune --force removes stale entries",
			},
		},
		{
			"pruning is a dry run",
			[]string{"--prune"},
			map[string]string{"acme": "11", "new-name": "14"},
			[]string{"2 added, 1 known, 1 changed, 2 stale, 1 suspended; --force replaces changed IDs; nothing was removed: add --force to remove stale entries"},
		},
		{
			"replacing",
			[]string{"--force"},
			map[string]string{"acme": "11", "new-name": "14", "initech": "13"},
			[]string{
				"initech Organization 13 all replaced the store has 9",
				"2 added, 1 replaced, 1 known, 2 stale, 1 suspended; gatepass app discover --prune --force removes stale entries",
			},
		},
		{
			"pruning in earnest",
			[]string{"--prune", "--force"},
			map[string]string{"acme": "11", "new-name": "14", "initech": "13", "old-name": "", "gone": ""},
			[]string{"gone - - - removed GitHub has no installation there", "2 added, 1 replaced, 2 removed, 1 known, 1 suspended"},
		},
	} {
		w, want := newDiscoverWorld(t)
		out, errs, status := w.run(t, append([]string{"app", "discover"}, c.args...)...)
		if status != 0 || errs != "" {
			t.Errorf("%s: app discover = %d, %q, want 0", c.name, status, errs)
		}
		for _, line := range c.lines {
			if !slices.ContainsFunc(squeezed(out), func(l string) bool {
				return l == line || strings.HasSuffix(line, "since") && strings.HasPrefix(l, line)
			}) {
				t.Errorf("%s: app discover prints\n%s\nwant the line %q", c.name, out, line)
			}
		}
		for login, id := range c.changes {
			want["installations/"+login] = id
		}
		maps.DeleteFunc(want, func(_, id string) bool { return id == "" })
		w.wants(c.name, want)
	}
}

func TestAppDiscoverReadsEveryPage(t *testing.T) {
	if testing.Short() {
		t.Skip("reads hundreds of installations")
	}
	w := newStoreWorld(t)
	w.add()
	for n := range 150 {
		w.install(fmt.Sprintf("org-%03d", n), 0)
	}
	w.put(map[string]string{"installation-id": "77"})
	out, errs, status := w.run(t, "app", "discover", "--json")
	found := decode[app.Discovery](t, out)
	isAdded := func(s issuing.AccountState) bool { return s.State == issuing.Added }
	if status != 0 || len(found.Installations) != 150 || !slices.ContainsFunc(found.Installations, isAdded) || found.Legacy != 77 || len(w.kept()) != 154 {
		t.Errorf("app discover = %d, %q, %d found, %d entries, want 150 added", status, errs, len(found.Installations), len(w.kept()))
	}
	// GitHub's list was incomplete, so nothing counts as gone.
	w.Fail(func(r *http.Request) bool { return r.URL.Query().Get("page") == "2" }, fakegithub.Status(http.StatusForbidden), -1)
	w.refuses("discover", []refusal{{"the second page fails", []string{"--prune", "--force"}, 1, "list the App's installations: GitHub answered 403"}})
}

func TestAppDiscoverRefuses(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the command many times")
	}
	w := newStoreWorld(t)
	w.refuses("discover", []refusal{
		{"no App", nil, 1, "load the GitHub App: this store has no App; run gatepass app create, or gatepass app add"},
		{"an argument", []string{"acme"}, 2, `unexpected argument "acme"`},
	})
	w.add()
	w.put(map[string]string{"app-client-id": "Iv23liOther", "installations/gone": "1"})
	w.refuses("discover", []refusal{{"an App that GitHub does not know", []string{"--prune", "--force"}, 1, "GitHub has no App with this ID"}})
}

func TestAppDiscoverNowhere(t *testing.T) {
	w := newStoreWorld(t)
	w.add()
	out, errs, status := w.run(t, "app", "discover")
	if want := "the App is not installed anywhere; install it: " + w.URL() + "/apps/sandbox-pass/installations/new\n"; status != 0 || out != want {
		t.Errorf("app discover = %d, %q, %q, want %q", status, out, errs, want)
	}
	if out, _, _ := w.run(t, "app", "discover", "--json"); !strings.Contains(out, `"installations": []`) {
		t.Errorf("app discover --json = %q, want an empty list", out)
	}
}

// another registers a further App, installed on acme, and returns it with its key's file.
func (w *issuingWorld) another(slug string) (app fakegithub.App, key string) {
	w.t.Helper()
	key, public := writeAppKey(w.t)
	app, err := w.AddApp(fakegithub.App{Slug: slug, Owner: "acme", Keys: []*rsa.PublicKey{public}, Permissions: fakegithub.Permissions{"contents": "write", "checks": "write"}})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.AddInstallation(fakegithub.Installation{AppID: app.ID, Account: "acme", RepositorySelection: "all"}); err != nil {
		w.t.Fatal(err)
	}
	return app, key
}

// try runs a command that may fail, and returns everything that it printed.
func (w *issuingWorld) try(args ...string) (output string, status int) {
	out, errs, status := w.gatepass(args...)
	return out + errs, status
}

// The commands by which an App joins the pool, is managed, and leaves.
func TestAppPool(t *testing.T) {
	if testing.Short() {
		t.Skip("makes an App in many ways")
	}
	w := newIssuingWorld(t)
	w.do("app", "discover")
	b, key := w.another("gatepass-b")
	for _, args := range [][]string{
		{"app", "discover", "--pool", "b"},
		{"app", "rotate-key", "--pool", "b", "--private-key-file", key},
		{"app", "remove", "--pool", "b"},
		{"app", "add", "--pool", "B", "--app-client-id", b.ClientID, "--private-key-file", key},
		{"app", "add", "--pool", "first", "--app-client-id", b.ClientID, "--private-key-file", key},
		{"app", "add", "--pool", "b", "--app-client-id", w.app.ClientID, "--private-key-file", w.key},
		{"app", "add", "--pool", "b", "--app-client-id", b.ClientID, "--private-key-file", w.key},
	} {
		if out, status := w.try(args...); status == 0 {
			t.Errorf("gatepass %s succeeds: %s", strings.Join(args, " "), out)
		}
	}
	if out := w.do("app", "add", "--pool", "b", "--app-client-id", b.ClientID, "--private-key-file", key); !strings.Contains(out, "1 added") {
		t.Errorf("app add --pool prints %s, want its installation added", out)
	}
	if out, status := w.try("app", "add", "--pool", "b", "--app-client-id", b.ClientID, "--private-key-file", key); status != 1 || !strings.Contains(out, "it is set up already; add --force") {
		t.Errorf("app add --pool again = %d %s, want that it is there", status, out)
	}
	if out := w.do("app", "discover", "--pool", "b"); !strings.Contains(out, "1 known") {
		t.Errorf("app discover --pool prints %s", out)
	}
	if out := w.do("app", "rotate-key", "--pool", "b", "--private-key-file", key); !strings.Contains(out, "signs with this key already") {
		t.Errorf("app rotate-key --pool prints %s", out)
	}
	w.checkStatus(b)
	minted := map[int64]int{}
	for n := range 10 {
		w.do("workspace", "create", w.dir+"/profile.yaml", "--id", fmt.Sprint("sb-", n))
	}
	for _, token := range w.Tokens() {
		minted[token.InstallationID]++
	}
	if len(minted) != 3 { // octo's, and two on acme
		t.Errorf("tokens are of the installations %v, want both on acme", minted)
	}
	w.write("checks.yaml", "spec: {sourceAccess: {github: {allowedRepos: [acme/widgets], permissions: {contents: read, checks: write}}}}\n")
	w.do("workspace", "create", w.dir+"/checks.yaml", "--id", "checks-0") // the first App may not write checks
	// Such workspaces moved to another App without a word, and could not update the check
	// runs that they had made.
	if out, status := w.try("app", "remove", "--pool", "b"); status != 1 || !strings.Contains(out, "workspaces that may write checks use it, and GitHub lets no other App update their check runs: checks-0;") || !strings.Contains(out, "add --force") {
		t.Errorf("app remove = %d %s, want that checks-0 uses it", status, out)
	}
	w.do("app", "status")
	w.do("app", "discover", "--pool", "b") // it is still there
	w.do("app", "remove", "--pool", "b", "--force")
	if out, status := w.try("app", "discover", "--pool", "b"); status != 1 || !strings.Contains(out, "the store has no App of that name") {
		t.Errorf("after app remove, discover = %d %s", status, out)
	}
	if out := w.do("app", "status"); strings.Contains(out, "in the pool") {
		t.Errorf("after app remove, status prints %s", out)
	}
	w.do("workspace", "refresh", "sb-0", "--force")
	w.do("workspace", "destroy", "sb-1")
}

func (w *issuingWorld) checkStatus(b fakegithub.App) {
	w.t.Helper()
	out := w.do("app", "status")
	for _, want := range []string{"b in the pool: the App ", "client ID  " + b.ClientID, "requests   4", "nothing prevents tokens from being minted"} {
		if !strings.Contains(out, want) {
			w.t.Errorf("app status prints\n%s\nwant %q", out, want)
		}
	}
	var report struct {
		OK   bool
		Pool []struct {
			Name string
			App  struct {
				ClientID string `json:"client_id"`
			}
			Key  struct{ Proved bool }
			Rate struct{ Remaining int }
		}
	}
	if err := json.Unmarshal([]byte(w.do("app", "status", "--json")), &report); err != nil {
		w.t.Fatal(err)
	}
	if !report.OK || len(report.Pool) != 1 || report.Pool[0].Name != "b" || report.Pool[0].App.ClientID != b.ClientID || !report.Pool[0].Key.Proved || report.Pool[0].Rate.Remaining == 0 {
		w.t.Errorf("app status --json = %+v", report)
	}
	if out, _ := w.try("doctor"); !strings.Contains(out, "App b of the pool: the App's key ") || !strings.Contains(out, "App b of the pool: it is installed on acme") {
		w.t.Errorf("doctor prints\n%s\nwant the App b", out)
	}
	keys := w.Apps()[slices.IndexFunc(w.Apps(), func(a fakegithub.App) bool { return a.ID == b.ID })].Keys
	if err := w.RemoveKey(b.ID, keys[0]); err != nil {
		w.t.Fatal(err)
	}
	if out, status := w.try("app", "status"); status != 1 || !strings.Contains(out, "  App b: ") {
		w.t.Errorf("with b's key deleted, app status = %d\n%s", status, out)
	}
	if err := w.AddKey(b.ID, keys[0]); err != nil {
		w.t.Fatal(err)
	}
}
