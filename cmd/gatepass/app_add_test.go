package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/cmd/gatepass/app"
	"github.com/gatepass/gatepass/issuing"
)

func TestAppAddFindsTheInstallations(t *testing.T) {
	w := newStoreWorld(t)
	w.install("Acme", 11)
	w.install("globex", 12)
	w.install("initech", 13)
	if err := w.Suspend(13, true); err != nil {
		t.Fatal(err)
	}
	out, errs, status := w.run(t, "app", "add", "--app-client-id", w.app.ClientID, "--private-key-file", w.key)
	if status != 0 || errs != "" {
		t.Fatalf("app add = %d, %q, want 0", status, errs)
	}
	lines := squeezed(out)
	for _, want := range []string{
		`the App Sandbox\u202e Pass is set up`, "client ID " + w.app.ClientID, "key " + w.fingerprint + " (RSA, 2048 bits), in the store",
		"delete " + w.key + ": it is no longer needed", "acme Organization 11 all added", "globex Organization 12 all added", "2 added, 1 suspended",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("app add prints\n%s\nwant the line %q", out, want)
		}
	}
	w.wants("app add", map[string]string{
		"app-client-id": w.app.ClientID, "private-key": "PEM", "github-url": w.URL(), "installations/acme": "11", "installations/globex": "12",
	})
	if live := w.Tokens(); len(live) != 0 {
		t.Errorf("%d tokens were minted, want none", len(live))
	}
}

// Every variant of the first system's manual set-up.
func TestAppAddOne(t *testing.T) {
	w := newStoreWorld(t)
	w.install("Acme", 11)
	w.install("globex", 12)
	credentials := []string{"app", "add", "--non-interactive", "--app-client-id", w.app.ClientID, "--private-key-file", w.key}
	want := map[string]string{"app-client-id": w.app.ClientID, "private-key": "PEM", "github-url": w.URL()}
	for _, c := range []struct {
		name string
		args []string
		last string // line of the output
	}{
		{"an id and an account, in any case", append(credentials, "--installation-id", "11", "--account", "ACME"), "1 added"},
		{"again, replacing", append(credentials, "--installation-id", "11", "--account", "acme", "--force"), "1 known"},
		{"an id alone, to the App that is there", []string{"app", "add", "--installation-id", "11"}, "1 known"},
	} {
		out, errs, status := w.run(t, c.args...)
		if lines := squeezed(out); status != 0 || errs != "" || lines[len(lines)-1] != c.last {
			t.Errorf("%s: app add = %d, %q, %q, want the last line %q", c.name, status, out, errs, c.last)
		}
		want["installations/acme"] = "11"
		w.wants(c.name, want)
	}
	out, errs, status := w.run(t, "app", "add", "--account", "Globex", "--json")
	report := decode[app.AddReport](t, out)
	if status != 0 || len(report.Installations) != 1 || report.Installations[0].State != issuing.Added || report.Installations[0].ID != 12 ||
		report.App.Slug != "sandbox-pass" || !strings.HasPrefix(report.Store, "file:///") || strings.Contains(out, "PRIVATE") {
		t.Errorf("app add --account = %d, %q, %q, want globex added", status, out, errs)
	}
	want["installations/globex"] = "12"
	w.wants("an account alone", want)
}

func TestAppAddSaysWhatIsSuspended(t *testing.T) {
	w := newStoreWorld(t)
	w.install("acme", 11)
	if err := w.Suspend(11, true); err != nil {
		t.Fatal(err)
	}
	w.add()
	out, errs, status := w.run(t, "app", "add", "--installation-id", "11")
	if status != 0 || !strings.Contains(out, "added  suspended since ") || !strings.Contains(out, "so no token can be minted") {
		t.Errorf("app add of a suspended one = %d, %q, %q, want that said", status, out, errs)
	}
	if w.kept()["installations/acme"] != "11" {
		t.Errorf("the store has %v, want what was named", w.kept())
	}
}

func TestAppAddKeepsASignersURLOnly(t *testing.T) {
	w := newStoreWorld(t)
	url := "file://" + w.key
	out, errs, status := w.run(t, "app", "add", "--app-client-id", w.app.ClientID, "--signer", url)
	if status != 0 || !strings.Contains(out, ", at "+url+"\n") || strings.Contains(out, "delete") || !strings.Contains(out, "it is not installed anywhere; install it: "+w.URL()+"/apps/sandbox-pass/installations/new") {
		t.Errorf("app add --signer = %d, %q, %q, want the URL and what to do next", status, out, errs)
	}
	w.wants("app add --signer", map[string]string{"app-client-id": w.app.ClientID, "signer": url, "github-url": w.URL()})
}

// The request to GitHub comes first: the first system wrote, then failed.
func TestAppAddRefusesAndWritesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the command many times")
	}
	w := newStoreWorld(t)
	w.install("acme", 11)
	pem, err := os.ReadFile(w.key)
	if err != nil {
		t.Fatal(err)
	}
	id, key := []string{"--app-client-id", w.app.ClientID}, []string{"--private-key-file", w.key}
	both := slices.Concat(id, key)
	w.refuses("add", []refusal{
		// Without a list of all mistakes, the user would run it once for each.
		{"nothing, and no terminal", nil, 2, "missing: --app-client-id, and --private-key-file or --signer"},
		{"no key", id, 2, "missing: --private-key-file or --signer"},
		{"no key, and no question is allowed", append(id, "--non-interactive"), 2, "missing: --private-key-file or --signer"},
		{"no client ID", key, 2, "missing: --app-client-id"},
		{"two keys", append(both, "--signer", "file://"+w.key), 2, "give either --private-key-file or --signer"},
		{"an argument", append(both, "now"), 2, `unexpected argument "now"`},
		{"no number", append(both, "--installation-id", "acme"), 2, "installation-id"},
		{"a number that is no id", append(both, "--installation-id", "-1"), 2, "--installation-id must be a number above 0"},
		{"an installation of no App", []string{"--installation-id", "11"}, 2, "missing: --app-client-id, and --private-key-file or --signer"},
		{"another App's key", append(id, "--private-key-file", w.other), 1, "GitHub does not accept the key SHA256:"},
		{"no such App", append(key, "--app-client-id", "Iv23liNobody"), 1, "GitHub has no App with this ID"},
		{"the key for its path", append(id, "--private-key-file", string(pem)), 1, "this is the key itself, not the path of its file"},
		{"a path for the key", append(id, "--private-key-file", w.key+"x"), 1, "no such file"},
		{"no such installation", append(both, "--installation-id", "12"), 1, "find installation 12: GitHub answered 404"},
		{"an installation on another account", append(both, "--installation-id", "11", "--account", "globex"), 1, "add installation 11: it is on acme, not on globex"},
		{"an account without the App", append(both, "--account", "globex"), 1, "find the installation on globex"},
		{"no store there", append(both, "--store", "s3://x"), 1, "unknown store s3://"},
	})
}

func TestAppAddReplacesWithForceOnly(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the command many times")
	}
	w := newStoreWorld(t)
	w.install("acme", 11)
	w.add()
	w.put(map[string]string{"installations/acme": "7", "installations/gone": "8", "installation-id": "7"})
	both := []string{"--app-client-id", w.app.ClientID, "--private-key-file", w.key}
	w.refuses("add", []refusal{
		{"an App is there", both, 1, "the store has config/github/app-client-id, config/github/private-key, config/github/github-url already; add --force"},
		{"an App is there, and nothing is given", nil, 1, "already; add --force"},
		{"the entry has another id", []string{"--installation-id", "11", "--account", "acme"}, 1, "add the installation on acme: the store has 7, but GitHub has 11; add --force"},
	})
	out, errs, status := w.run(t, append([]string{"app", "add", "--force"}, both...)...)
	if status != 0 || !strings.Contains(out, "1 replaced, 1 stale; gatepass app discover --prune --force removes stale entries\n") ||
		!strings.Contains(out, "config/github/installation-id has 7; gatepass keeps it and does not use it") {
		t.Errorf("app add --force = %d, %q, %q, want one replaced and one stale", status, out, errs)
	}
	w.wants("app add --force", map[string]string{
		"app-client-id": w.app.ClientID, "private-key": "PEM", "github-url": w.URL(), "installations/acme": "11", "installations/gone": "8", "installation-id": "7",
	})
}
