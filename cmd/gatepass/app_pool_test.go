package main

import (
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/test/fakegithub"
)

// another registers a further App, installed on acme, and returns it with its key's file.
func (w *issuingWorld) another(slug string) (app fakegithub.App, key string) {
	w.t.Helper()
	key, public := writeAppKey(w.t)
	app, err := w.AddApp(fakegithub.App{Slug: slug, Owner: "acme", Keys: []*rsa.PublicKey{public}, Permissions: fakegithub.Permissions{"contents": "write"}})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.AddInstallation(fakegithub.Installation{AppID: app.ID, Account: "acme", RepositorySelection: "all"}); err != nil {
		w.t.Fatal(err)
	}
	return app, key
}

// try runs a command that may fail, and returns all that it printed.
func (w *issuingWorld) try(args ...string) (output string, status int) {
	out, errs, status := w.gatepass(args...)
	return out + errs, status
}

// The commands by which an App joins the pool, is looked after, and leaves.
func TestAppPool(t *testing.T) {
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
	w.do("app", "remove", "--pool", "b")
	if out, status := w.try("app", "discover", "--pool", "b"); status != 1 || !strings.Contains(out, "the store has none of that name") {
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
	for _, want := range []string{"b in the pool: the App ", "client ID  " + b.ClientID, "requests   4", "nothing keeps tokens from being minted"} {
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
