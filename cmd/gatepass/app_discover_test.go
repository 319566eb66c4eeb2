package main

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

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
				"old-name - - - stale the installation is on new-name by now",
				"gone - - - stale GitHub has no installation there",
				"2 added, 1 known, 1 changed, 2 stale, 1 suspended; --force replaces what changed; gatepass app discover --prune --force removes what is stale",
			},
		},
		{
			"pruning is a dry run",
			[]string{"--prune"},
			map[string]string{"acme": "11", "new-name": "14"},
			[]string{"2 added, 1 known, 1 changed, 2 stale, 1 suspended; --force replaces what changed; nothing was removed: add --force to remove what is stale"},
		},
		{
			"replacing",
			[]string{"--force"},
			map[string]string{"acme": "11", "new-name": "14", "initech": "13"},
			[]string{
				"initech Organization 13 all replaced the store has 9",
				"2 added, 1 replaced, 1 known, 2 stale, 1 suspended; gatepass app discover --prune --force removes what is stale",
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
	w := newStoreWorld(t)
	w.add()
	for n := range 150 {
		w.install(fmt.Sprintf("org-%03d", n), 0)
	}
	w.put(map[string]string{"installation-id": "77"})
	out, errs, status := w.run(t, "app", "discover", "--json")
	found := decode[discovery](t, out)
	isAdded := func(s issuing.Standing) bool { return s.State == issuing.Added }
	if status != 0 || len(found.Installations) != 150 || !slices.ContainsFunc(found.Installations, isAdded) || found.Legacy != 77 || len(w.kept()) != 154 {
		t.Errorf("app discover = %d, %q, %d found, %d entries, want 150 added", status, errs, len(found.Installations), len(w.kept()))
	}
	// Of what GitHub listed half-way, nothing is gone.
	w.Fail(func(r *http.Request) bool { return r.URL.Query().Get("page") == "2" }, fakegithub.Status(http.StatusForbidden), -1)
	w.refuses("discover", []refusal{{"the second page fails", []string{"--prune", "--force"}, 1, "list the App's installations: GitHub answers 403"}})
}

func TestAppDiscoverRefuses(t *testing.T) {
	w := newStoreWorld(t)
	w.refuses("discover", []refusal{
		{"no App", nil, 1, "load the GitHub App: none is set up in this store; run gatepass app create, or gatepass app add"},
		{"an argument", []string{"acme"}, 2, `it takes no argument "acme"`},
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
