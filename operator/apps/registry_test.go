package apps

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/mint"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
)

func TestTheOperatorsOwnApp(t *testing.T) {
	w := newWorld(t)
	if _, err := w.registry.Get(t.Context(), Ref{}); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "set appRef") {
		t.Fatalf("Get without a configuration = %v, want %v", err, ErrNotFound)
	}
	w.own(t)
	app, err := w.registry.Get(t.Context(), Ref{})
	if err != nil {
		t.Fatal(err)
	}
	if app.Ref.String() != "default" || app.Host != "github.test" || app.Provider != ProviderFile {
		t.Errorf("Get = %+v", app)
	}
	m, err := app.Mint(t.Context(), w.grant())
	if err != nil || m.Token.Repositories[0] != "acme/widgets" {
		t.Errorf("Mint = %v, %v", m, err)
	}
}

// One App signs one JWT in eight minutes, so the same one has to come back.
func TestAnAppStaysWhileItsKeyDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.own(t)
		get := func() *App {
			t.Helper()
			app, err := w.registry.Get(t.Context(), Ref{})
			if err != nil {
				t.Fatal(err)
			}
			return app
		}
		first := get()
		time.Sleep(10 * time.Minute)
		if get() != first {
			t.Error("another App although nothing changed")
		}
		if err := w.AddKey(w.app.ID, &keys[1].PublicKey); err != nil {
			t.Fatal(err)
		}
		write(t, w.key, string(pemText(keys[1])))
		time.Sleep(30 * time.Second)
		if get() != first {
			t.Error("the key is read again within the minute")
		}
		time.Sleep(31 * time.Second)
		next := get()
		if next == first {
			t.Error("the same App although the key changed a minute ago")
		}
		if _, err := next.Mint(t.Context(), w.grant()); err != nil {
			t.Errorf("Mint with the new key = %v", err)
		}
	})
}

// A key that was replaced at GitHub is read again at once, and one that is wrong is
// not tried by every Token.
func TestAKeyThatGitHubRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.own(t)
		app, err := w.registry.Get(t.Context(), Ref{})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.RemoveKey(w.app.ID, &keys[0].PublicKey); err != nil {
			t.Fatal(err)
		}
		if _, err := app.Mint(t.Context(), w.grant()); err == nil {
			t.Fatal("Mint with a removed key = nil")
		}
		asked := w.all()
		for range 100 {
			_, err := w.registry.Get(t.Context(), Ref{})
			if e, ok := errors.AsType[*NotReady](err); !ok || e.Reason != v1.ReasonKeyInvalid || e.RetryAfter <= 0 || e.RetryAfter > time.Minute {
				t.Fatalf("Get = %v, want that the key is refused, and to come back within a minute", err)
			}
		}
		if w.all() != asked {
			t.Error("GitHub is asked with a key that it refused a moment ago")
		}
		if err := w.AddKey(w.app.ID, &keys[1].PublicKey); err != nil {
			t.Fatal(err)
		}
		write(t, w.key, string(pemText(keys[1])))
		time.Sleep(readAgain)
		next, err := w.registry.Get(t.Context(), Ref{})
		if err != nil {
			t.Fatalf("Get with a new key = %v, want it used within %v", err, readAgain)
		}
		if _, err := next.Mint(t.Context(), w.grant()); err != nil {
			t.Errorf("Mint with the new key = %v", err)
		}
	})
}

// A pause that GitHub asked for, and what is to be taken back, outlast a key.
func TestAnotherKeyInheritsThePause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.own(t)
		app, err := w.registry.Get(t.Context(), Ref{})
		if err != nil {
			t.Fatal(err)
		}
		w.limit(t, 10*time.Minute)
		if _, err := app.Mint(t.Context(), w.grant()); err == nil {
			t.Fatal("Mint = nil, want a rate limit")
		}
		write(t, w.key, string(pemText(keys[1])))
		time.Sleep(keyLife)
		next, err := w.registry.Get(t.Context(), Ref{})
		if err != nil || next == app {
			t.Fatalf("Get = %v, %v, want another App", next, err)
		}
		if held := next.Paused(); held == nil || held.Kind != mint.RateLimited || held.RetryAfter != 9*time.Minute {
			t.Errorf("Paused = %v, want nine minutes more", held)
		}
	})
}

// A key that GitHub accepts again, as after it was put back there, is not read every few
// seconds for ever.
func TestAKeyThatIsTakenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.own(t)
		app, err := w.registry.Get(t.Context(), Ref{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := app.Self(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := w.RemoveKey(w.app.ID, &keys[0].PublicKey); err != nil {
			t.Fatal(err)
		}
		if _, err := app.Mint(t.Context(), w.grant()); err == nil {
			t.Fatal("Mint with a removed key = nil")
		}
		time.Sleep(refusedWait)
		if again, err := w.registry.Get(t.Context(), Ref{}); err != nil || again != app {
			t.Fatalf("Get after the rest = %v, %v, want another try with the same App", again, err)
		}
		if _, err := app.Self(t.Context()); err == nil {
			t.Error("Self = nil: a proof is remembered although GitHub refused the key since")
		}
		if err := w.AddKey(w.app.ID, &keys[0].PublicKey); err != nil {
			t.Fatal(err)
		}
		time.Sleep(refusedWait)
		if _, err := app.Mint(t.Context(), w.grant()); err != nil {
			t.Fatal(err)
		}
		if app.entry.refused != nil {
			t.Error("the key still counts as refused")
		}
	})
}
