package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/cmd/gatepass/app"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// writeProfile writes a profile that needs these permissions on acme.
func writeProfile(t *testing.T, permissions string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "agent.yaml")
	text := "spec: {sourceAccess: {github: {allowedRepos: [acme/widgets], permissions: " + permissions + "}}}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAppStatusOfWhatIsInOrder(t *testing.T) {
	w := newStoreWorld(t)
	w.install("acme", 11)
	w.add()
	w.put(map[string]string{"installation-id": "11"})
	before := w.kept()
	for _, args := range [][]string{nil, {"--profile", writeProfile(t, "[clone, push]")}} {
		out, errs, status := w.run(t, append([]string{"app", "status"}, args...)...)
		if status != 0 || errs != "" {
			t.Errorf("app status %q = %d, %q, want 0", args, status, errs)
		}
		lines := squeezed(out)
		for _, want := range []string{
			`the App Sandbox\u202e Pass`, "slug sandbox-pass", "owner acme", "client ID " + w.app.ClientID,
			"settings " + w.URL() + "/organizations/acme/settings/apps/sandbox-pass",
			"key " + w.fingerprint + " (RSA, 2048 bits), in the store, accepted by GitHub", "asks for contents: write, metadata: read",
			"acme Organization 11 11 all known contents: write, metadata: read",
			"config/github/installation-id has 11; gatepass does not use it", "nothing prevents tokens from being minted",
		} {
			if !slices.Contains(lines, want) {
				t.Errorf("app status %q prints\n%s\nwant the line %q", args, out, want)
			}
		}
		if !strings.Contains(out, " of 5000 left until ") {
			t.Errorf("app status %q prints\n%s\nwant what is left of GitHub's limit", args, out)
		}
	}
	w.wants("app status", before)
	if live := w.Tokens(); len(live) != 0 {
		t.Errorf("%d tokens were minted, want none", len(live))
	}
}

// A permission needs two people: the App's owner requests it, the account's owner
// approves it.
func TestAppStatusSaysWhoHasToGrant(t *testing.T) {
	w := newStoreWorld(t)
	w.install("acme", 11)
	w.add()
	checks := []string{"app", "status", "--profile", writeProfile(t, "{contents: read, checks: write}")}
	fails := func(name string, want ...string) {
		t.Helper()
		out, errs, status := w.run(t, checks...)
		if status != 1 || !strings.Contains(errs, "prevents tokens from being minted") || strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: app status = %d, %q, want 1", name, status, errs)
		}
		lines := squeezed(out)
		from := slices.Index(lines, "what prevents tokens from being minted:")
		if from < 0 || !slices.Equal(lines[from+1:], want) {
			t.Errorf("%s: app status prints\n%s\nwant at its end\n%s", name, out, strings.Join(want, "\n"))
		}
	}
	acme := w.URL() + "/organizations/acme/settings"
	fails("neither does",
		"the App does not request checks: write; add it in the App's settings, then ask every account to approve it: "+acme+"/apps/sandbox-pass/permissions",
		"acme has not granted checks: write; ask an owner of acme to approve it: "+acme+"/installations/11")

	// The App now requests it, and acme must still approve.
	if err := w.SetPermissions(11, fakegithub.Permissions{"contents": "write", "checks": "write"}); err != nil {
		t.Fatal(err)
	}
	if err := w.SetPermissions(11, fakegithub.Permissions{"contents": "write"}); err != nil {
		t.Fatal(err)
	}
	fails("acme does not", "acme has not granted checks: write; ask an owner of acme to approve it: "+acme+"/installations/11/permissions/update")

	if err := w.SetPermissions(11, fakegithub.Permissions{"contents": "write", "checks": "write"}); err != nil {
		t.Fatal(err)
	}
	if out, errs, status := w.run(t, checks...); status != 0 {
		t.Errorf("app status = %d, %q, %q, want 0 once it is approved", status, out, errs)
	}
}

func TestAppStatusJSON(t *testing.T) {
	w := newStoreWorld(t)
	w.install("acme", 11)
	w.install("globex", 12)
	w.add()
	w.put(map[string]string{"installations/gone": "5"})
	if err := w.Suspend(12, true); err != nil {
		t.Fatal(err)
	}
	out, errs, status := w.run(t, "app", "status", "--json")
	r := decode[app.StatusReport](t, out)
	var states []string
	for _, i := range r.Installations {
		states = append(states, i.Account+" "+string(i.State))
	}
	if want := []string{"acme known", "globex suspended", "gone stale"}; status != 1 || r.OK || !slices.Equal(states, want) || len(r.Problems) != 2 {
		t.Errorf("app status --json = %d, %q, %v with %v, want %v and two problems", status, errs, states, r.Problems, want)
	}
	if !r.Key.Proved || r.Key.Fingerprint != w.fingerprint || r.App.ClientID != w.app.ClientID || r.Rate.Limit != 5000 || r.GitHub != w.URL() {
		t.Errorf("app status --json = %+v, want the App and its key", r)
	}
	if strings.Contains(out, "PRIVATE") || strings.Contains(out, "eyJ") {
		t.Errorf("app status --json shows a secret: %s", out)
	}
}

func TestAppStatusOfARefusedKey(t *testing.T) {
	w := newStoreWorld(t)
	w.install("acme", 11)
	w.add()
	pem, err := os.ReadFile(w.other)
	if err != nil {
		t.Fatal(err)
	}
	w.put(map[string]string{"private-key": string(pem)})
	out, errs, status := w.run(t, "app", "status")
	if status != 1 || !strings.Contains(errs, "1 thing  prevents tokens from being minted") || !strings.Contains(out, ", in the store, not checked at GitHub\n") ||
		!strings.Contains(out, "GitHub does not accept the key SHA256:") || !slices.Contains(squeezed(out), "acme - - 11 - unchecked -") {
		t.Errorf("app status = %d, %q, %q, want the key refused and what the store has", status, out, errs)
	}
	r, _, _ := w.run(t, "app", "status", "--json")
	if report := decode[app.StatusReport](t, r); report.Key.Proved || report.App != nil {
		t.Errorf("app status --json = %+v, want no App and no proof", report)
	}
}

func TestAppStatusRefuses(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the command many times")
	}
	w := newStoreWorld(t)
	w.refuses("status", []refusal{
		{"no App", nil, 1, "this store has no App"},
		{"an argument", []string{"acme"}, 2, `unexpected argument "acme"`},
		{"no such profile", []string{"--profile", "nowhere.yaml"}, 1, "read the profile nowhere.yaml: no such file"},
	})
}

// A private App can be installed only on its owner's account: if only that installation
// exists, the page says why, and what to do.
func TestAppStatusSaysWhetherTheAppIsPublic(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the command many times")
	}
	w := newStoreWorld(t)
	w.install("acme", 11)
	w.add()
	for _, isPublic := range []bool{false, true} {
		if err := w.SetPublic(w.app.ID, isPublic); err != nil {
			t.Fatal(err)
		}
		where := w.URL() + "/organizations/acme/settings/apps/sandbox-pass/advanced"
		out, errs, status := w.run(t, "app", "status")
		lines := squeezed(out)
		note := "the App is private: only acme can install it; for repositories of other accounts, make it public: " + where
		line := "public no, only acme can install it"
		if isPublic {
			line = "public yes, every account can install it"
		}
		if status != 0 || !slices.Contains(lines, line) || slices.Contains(lines, note) == isPublic {
			t.Errorf("app status of an App that is public %t = %d, %q, %s", isPublic, status, errs, out)
		}
		r, _, _ := w.run(t, "app", "status", "--json")
		if public := decode[app.StatusReport](t, r).Public; public == nil || *public != isPublic {
			t.Errorf("app status --json says public: %v, want %t", public, isPublic)
		}
		path := filepath.Join(t.TempDir(), "p.yaml")
		if err := os.WriteFile(path, []byte("spec: {sourceAccess: {github: {allowedRepos: [globex/x]}}}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		out, _, status = w.run(t, "app", "status", "--profile", path)
		want := "a profile names globex, but the App is not installed there; make it public, because only acme can install a private App: " + where + ", then install it there: "
		if status != 1 || strings.Contains(out, want) == isPublic {
			t.Errorf("app status with a profile of another account = %d, %s, want what to do first: %t", status, out, !isPublic)
		}
	}
}
