package issuing

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/gatepass/gatepass/store"
)

func TestLoaderReadsLiveConfiguration(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	keyFile := filepath.Join(t.TempDir(), "key.pem")
	save := func(c Credentials) func() {
		return func() {
			if err := Save(ctx, s, c, store.Replace); err != nil {
				t.Fatal(err)
			}
		}
	}
	enterprise := ofFile("Iv23liB")
	enterprise.GitHub = "https://ghe.example"
	l := &Loader{Store: s}
	for _, step := range []struct {
		name   string
		change func()
		isNew  bool
		id     string // "" means that no App is set up
	}{
		{"an empty store has no App", func() {}, true, ""},
		{"one that is set up later counts", save(ofFile("Iv23liA")), true, "Iv23liA"},
		{"and is kept", func() {}, false, "Iv23liA"},
		{"another id", save(ofFile("Iv23liB")), true, "Iv23liB"},
		{"another GitHub", save(enterprise), true, "Iv23liB"},
		{"another key, in a file", func() {
			writeKey(t, keyFile, testKey)
			save(Credentials{ID: "Iv23liB", Signer: "file://" + keyFile})()
		}, true, "Iv23liB"},
		{"the same file", func() {}, false, "Iv23liB"},
		{"another key in that file", func() { writeKey(t, keyFile, newKey(1)) }, true, "Iv23liB"},
		{"GitHub refused it", l.Forget, true, "Iv23liB"},
		{"taken away", func() {
			if err := s.Delete(ctx, store.AppClientID()); err != nil {
				t.Fatal(err)
			}
		}, true, ""},
	} {
		before := l.app
		step.change()
		issuer, app, err := l.Issuer(ctx)
		if err != nil || (issuer.NotReady == nil) != (step.id != "") || app.ID != step.id || issuer.App != app.App {
			t.Fatalf("%s: Issuer = %+v, %v, want the App %q", step.name, issuer, err, step.id)
		}
		if isNew := app != before; isNew != step.isNew {
			t.Errorf("%s: the App is new: %v, want %v", step.name, isNew, step.isNew)
		}
		if issuer.Store != s {
			t.Errorf("%s: the issuer works with %T, want the store itself", step.name, issuer.Store)
		}
	}
}

func writeKey(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A store that does not answer is not taken for one without an App.
func TestLoaderFailsWithTheStore(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l := &Loader{Store: newStore(t)}
	if issuer, _, err := l.Issuer(ctx); err == nil {
		t.Errorf("Issuer = %+v, want the store's error", issuer)
	}
}
