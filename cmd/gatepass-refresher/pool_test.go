package main

import (
	"crypto/rsa"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// join installs another App on acme, and adds it to the store's pool.
func (w *world) join(name string) {
	w.t.Helper()
	app, err := w.AddApp(fakegithub.App{Slug: "gatepass-" + name, Keys: []*rsa.PublicKey{&testKey.PublicKey}, Permissions: fakegithub.Permissions{"contents": "write"}})
	if err != nil {
		w.t.Fatal(err)
	}
	in, err := w.AddInstallation(fakegithub.Installation{AppID: app.ID, Account: "acme", RepositorySelection: "all"})
	if err != nil {
		w.t.Fatal(err)
	}
	key, err := w.store.Get(w.t.Context(), store.PrivateKey())
	if err == nil {
		err = issuing.AddToPool(w.t.Context(), w.store, name, issuing.Credentials{ID: app.ClientID, PrivateKey: key.Value, GitHub: w.URL()}, store.CreateOnly)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	of, err := store.OfApp(w.store, name)
	if err != nil {
		w.t.Fatal(err)
	}
	acme, err := store.Installation("acme")
	if err == nil {
		err = of.Put(w.t.Context(), acme, store.NewSecret(fmt.Sprint(in.ID)), store.CreateOnly)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// The whole program: an App joins while the refresher runs, the first one is suspended,
// and its workspaces move.
func TestAnAppJoinsWhileTheRefresherRuns(t *testing.T) {
	w := newWorld(t)
	w.settle("ws-1", "ws-2")
	r := w.refresher()
	r.monitor = newMonitor(time.Minute)
	w.join("b")
	if made, err := w.refresh(r, request{}); err != nil || made.Minted != 2 || w.log.count("workspace_moved") != 0 {
		t.Fatalf("with both Apps: %+v, %v, want that the workspaces stay", made, err)
	}
	if err := w.Suspend(w.Tokens()[0].InstallationID, true); err != nil {
		t.Fatal(err)
	}
	r = w.refresher("--force")
	r.monitor = newMonitor(time.Minute)
	made, err := w.refresh(r, request{force: true})
	if err != nil || made.Minted != 2 || made.Failed != 0 || w.log.count("workspace_moved") != 2 {
		t.Errorf("with the first suspended: %+v, %v, want that both move; the log is %s", made, err, w.log)
	}
	if !strings.Contains(w.log.String(), `"reason":"use installation`) {
		t.Errorf("the log does not say why: %s", w.log)
	}
	samples := r.monitor.samples(t)
	for _, name := range []string{"first", "b"} {
		if samples[fmt.Sprintf("gatepass_app_usable{app=%q}", name)] != 1 || samples[fmt.Sprintf("gatepass_app_rate_limit_remaining{app=%q}", name)] == 0 {
			t.Errorf("the metrics do not show the App %s: %v", name, samples)
		}
	}
}
