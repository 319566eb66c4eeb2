package main

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// A storeWorld is an appWorld with a store that the commands use.
type storeWorld struct {
	*appWorld
	t     *testing.T
	store store.Store
}

// newStoreWorld has the App of an organisation, installed nowhere yet, and an
// empty store.
func newStoreWorld(t *testing.T) *storeWorld {
	t.Helper()
	w := &storeWorld{appWorld: newAppWorld(t), t: t}
	url := "file://" + t.TempDir() + "/store"
	var err error
	if w.store, err = issuing.OpenStore(url); err != nil {
		t.Fatal(err)
	}
	w.variables = append(w.variables, "GATEPASS_STORE="+url)
	return w
}

// install has the ids that the tests choose.
func (w *storeWorld) install(login string, id int64) {
	w.t.Helper()
	if _, err := w.AddInstallation(fakegithub.Installation{
		ID: id, AppID: w.app.ID, Account: login, AccountType: fakegithub.Organization, RepositorySelection: "all",
	}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *storeWorld) put(entries map[string]string) {
	w.t.Helper()
	for text, value := range entries {
		name, err := store.ParseName("config/github/" + text)
		if err != nil {
			w.t.Fatal(err)
		}
		if err := w.store.Put(w.t.Context(), name, store.NewSecret(value), store.Replace); err != nil {
			w.t.Fatal(err)
		}
	}
}

// kept returns what the store has, without the key's text.
func (w *storeWorld) kept() map[string]string {
	w.t.Helper()
	all := map[string]string{}
	for name, err := range w.store.List(w.t.Context(), store.Everything()) {
		if err != nil {
			w.t.Fatal(err)
		}
		e, err := w.store.Get(w.t.Context(), name)
		if err != nil {
			w.t.Fatal(err)
		}
		value := e.Value.Reveal()
		if strings.HasPrefix(value, "-----BEGIN") {
			value = "PEM"
		}
		all[strings.TrimPrefix(name.String(), "config/github/")] = value
	}
	return all
}

func (w *storeWorld) wants(what string, want map[string]string) {
	w.t.Helper()
	if got := w.kept(); !maps.Equal(got, want) {
		w.t.Errorf("%s: the store has %v, want %v", what, got, want)
	}
}

// add sets the App up, as most tests begin.
func (w *storeWorld) add() {
	w.t.Helper()
	if out, errs, status := w.run(w.t, "app", "add", "--non-interactive", "--app-client-id", w.app.ClientID, "--private-key-file", w.key); status != 0 {
		w.t.Fatalf("app add = %d, %q, %q, want 0", status, out, errs)
	}
}

// a refusal is a command line that must fail with one line and change nothing.
type refusal struct {
	name   string
	args   []string
	status int
	want   string
}

func (w *storeWorld) refuses(command string, cases []refusal) {
	w.t.Helper()
	before := w.kept()
	for _, c := range cases {
		out, errs, status := w.run(w.t, append([]string{"app", command}, c.args...)...)
		if status != c.status || out != "" || strings.Count(errs, "\n") != 1 || !strings.HasPrefix(errs, "gatepass: ") || !strings.Contains(errs, c.want) {
			w.t.Errorf("%s: app %s = %d, %q, %q, want %d and one line with %q", c.name, command, status, out, errs, c.status, c.want)
		}
		if strings.Contains(errs, "eyJ") || strings.Contains(errs, "PRIVATE KEY") {
			w.t.Errorf("%s: %q shows a secret", c.name, errs)
		}
		w.wants(c.name, before)
	}
}

// squeezed returns the lines of output, their columns parted by one space.
func squeezed(out string) []string {
	var lines []string
	for line := range strings.Lines(out) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return lines
}

func decode[T any](t *testing.T, out string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	return v
}
