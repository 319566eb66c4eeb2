package apps

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// A thousand Tokens of one account ask for it once in an hour, and a new name of the
// account is seen within that hour: policies name accounts.
func TestAccounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.own(t)
		app, err := w.registry.Get(t.Context(), Ref{})
		if err != nil {
			t.Fatal(err)
		}
		check := func(wantLogin, owner string) {
			t.Helper()
			var all sync.WaitGroup
			for range 50 {
				all.Go(func() {
					login, err := w.registry.Account(t.Context(), app, w.installation)
					if err != nil || login != wantLogin {
						t.Errorf("Account = %s, %v, want %s", login, err, wantLogin)
					}
					found, err := w.registry.InstallationOf(t.Context(), app, owner)
					if err != nil || found.ID != w.installation {
						t.Errorf("InstallationOf(%s) = %d, %v, want %d", owner, found.ID, err, w.installation)
					}
				})
			}
			all.Wait()
		}
		check("acme", "ACME")
		if n := w.all(); n != 2 {
			t.Errorf("GitHub is asked %d times, want once for each question", n)
		}
		time.Sleep(59 * time.Minute)
		check("acme", "acme")
		if n := w.all(); n != 2 {
			t.Errorf("GitHub is asked %d times within the hour, want 2", n)
		}
		if err := w.RenameAccount("acme", "apex"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		check("apex", "apex")
	})
}

// An App that is installed now is used within a minute.
func TestAnAccountWithoutTheApp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.own(t)
		app, err := w.registry.Get(t.Context(), Ref{})
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			_, err := w.registry.InstallationOf(t.Context(), app, "zeta")
			const want = "find the installation on zeta: GitHub answered 404: Not Found; install the App on that account, or correct installationID or owner"
			if e, ok := errors.AsType[*mint.Error](err); !ok || e.Kind != mint.NotInstalled || app.Explain(err) != want {
				t.Fatalf("InstallationOf = %v, want %s", err, want)
			}
		}
		if n := w.all(); n != 2 { // as an organization, and as a user
			t.Errorf("GitHub is asked %d times about an account without the App, want 2", n)
		}
		in, err := w.AddInstallation(fakegithub.Installation{AppID: w.app.ID, Account: "zeta", RepositorySelection: "all"})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if found, err := w.registry.InstallationOf(t.Context(), app, "zeta"); err != nil || found.ID != in.ID {
			t.Errorf("InstallationOf a minute later = %d, %v, want %d", found.ID, err, in.ID)
		}
	})
}

// An App that was taken off an account and installed again has another installation.
func TestAnInstallationThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.own(t)
		app, err := w.registry.Get(t.Context(), Ref{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.registry.InstallationOf(t.Context(), app, "acme"); err != nil {
			t.Fatal(err)
		}
		if err := w.RemoveInstallation(w.installation); err != nil {
			t.Fatal(err)
		}
		in, err := w.AddInstallation(fakegithub.Installation{AppID: w.app.ID, Account: "acme", RepositorySelection: "all"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := app.Mint(t.Context(), w.grant()); err == nil {
			t.Fatal("Mint for an installation that is gone = nil")
		}
		found, err := w.registry.InstallationOf(t.Context(), app, "acme")
		if err != nil || found.ID != in.ID {
			t.Errorf("InstallationOf = %d, %v, want the new one, %d", found.ID, err, in.ID)
		}
	})
}

// A failure of GitHub is not remembered.
func TestAnOutageIsNotRemembered(t *testing.T) {
	w := newWorld(t)
	w.own(t)
	app, err := w.registry.Get(t.Context(), Ref{})
	if err != nil {
		t.Fatal(err)
	}
	w.Fail(fakegithub.To("GET", ""), fakegithub.Status(502), 1)
	if _, err := w.registry.Account(t.Context(), app, w.installation); err == nil {
		t.Fatal("Account = nil")
	}
	if login, err := w.registry.Account(t.Context(), app, w.installation); err != nil || login != "acme" {
		t.Errorf("Account = %s, %v", login, err)
	}
}

// Tenants choose the questions.
func TestAMemoIsBounded(t *testing.T) {
	var m memo[int, string]
	for n := range 3 * maxAnswers {
		text, err := m.get(n, time.Now(), func(bool) (string, time.Duration, error) { return fmt.Sprint(n), time.Hour, nil })
		if err != nil || text != fmt.Sprint(n) {
			t.Fatalf("get(%d) = %s, %v", n, text, err)
		}
	}
	if len(m.answers) > maxAnswers {
		t.Errorf("%d answers are kept, want at most %d", len(m.answers), maxAnswers)
	}
}

// A tenant whose policy allows every owner creates Tokens for thousands of them: GitHub
// would block the App for all. Those that are known do not wait for that.
func TestLookupsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldWith(t, fakegithub.Options{PointsPerMinute: fakegithub.SecondaryLimit})
		w.own(t)
		app, err := w.registry.Get(t.Context(), Ref{})
		if err != nil {
			t.Fatal(err)
		}
		known := func() {
			t.Helper()
			if found, err := w.registry.InstallationOf(t.Context(), app, "acme"); err != nil || found.ID != w.installation {
				t.Errorf("InstallationOf(acme) = %d, %v", found.ID, err)
			}
			if login, err := w.registry.Account(t.Context(), app, w.installation); err != nil || login != "acme" {
				t.Errorf("Account = %s, %v", login, err)
			}
		}
		known()
		before := w.all()
		refused := 0
		for n := range 3 * maxAnswers {
			_, err := w.registry.InstallationOf(t.Context(), app, fmt.Sprint("zeta-", n))
			e, ok := errors.AsType[*mint.Error](err)
			if !ok || e.Kind != mint.NotInstalled && (e.Kind != mint.RateLimited || e.RetryAfter <= 0) {
				t.Fatalf("InstallationOf = %v", err)
			}
			if e.Kind == mint.RateLimited {
				refused++
			}
		}
		if asked := w.all() - before; asked > maxLookups || refused == 0 {
			t.Errorf("GitHub is asked %d times in a minute, want %d at most", asked, maxLookups)
		}
		time.Sleep(accountLife)
		for n := range 100 {
			_, _ = w.registry.InstallationOf(t.Context(), app, fmt.Sprint("zeta-", n))
		}
		known()
	})
}

// GitHub refuses requests that come too fast, and blocks a client that goes on for
// longer. Of a thousand mints it refuses none, whatever else the App requests (tektoncd
// and others reach this limit with fewer).
func TestAThousandMintsBeforeGitHubsOwnLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldWith(t, fakegithub.Options{PointsPerMinute: fakegithub.SecondaryLimit, RateLimit: 100_000})
		w.own(t)
		app, err := w.registry.Get(t.Context(), Ref{})
		if err != nil {
			t.Fatal(err)
		}
		woken := make(chan Key, 1000)
		p := NewPacer(150, func(k Key) { woken <- k })
		minted := 0
		ask := func(k Key) {
			if !p.Acquire(Request{App: app.Pace, Key: k, Class: New}) {
				return
			}
			if _, err := app.Mint(t.Context(), w.grant()); err != nil {
				t.Fatalf("mint %d: %v", minted, err)
			}
			minted++
		}
		began := time.Now()
		for n := range 1000 {
			ask(key(n))
		}
		for minted < 1000 && time.Since(began) < 10*time.Minute {
			select {
			case k := <-woken:
				ask(k)
			case <-time.After(time.Second):
			}
		}
		if took := time.Since(began); minted != 1000 || took > 7*time.Minute {
			t.Errorf("%d mints in %v, want 1000 in seven minutes", minted, took)
		}
		if n := w.Counts().JWTs; n > 1 {
			t.Errorf("%d signatures in seven minutes, want one", n)
		}
	})
}

// Apps with one key are one App to GitHub: they share its limit, and so the pace. A name
// alone proves nothing: an App with the same id and another key is paced by itself.
func TestAppsWithOneKeyAreOne(t *testing.T) {
	r := &Registry{GitHub: "https://github.test"}
	appOf := func(ref Ref, key int) *App {
		t.Helper()
		m := material{basics: basics{"1", 0, "https://github.test"}, identity: fmt.Sprint("key ", key)}
		return r.entry(ref).app(definition{}, m)
	}
	first, second, other := appOf(one, 1), appOf(two, 1), appOf(Ref{"team", "three"}, 2)
	if first.Pace != second.Pace || first.Pace == other.Pace {
		t.Errorf("Pace = %v, %v and %v, want that of the first two to be the same", first.Pace, second.Pace, other.Pace)
	}
}

// An App that is deleted while it has a token to take back still does.
func TestADroppedAppSettles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.own(t)
		app, err := w.registry.Get(t.Context(), Ref{})
		if err != nil {
			t.Fatal(err)
		}
		m, err := app.Mint(t.Context(), w.grant())
		if err != nil {
			t.Fatal(err)
		}
		cancel := w.Fail(fakegithub.To("DELETE", "/installation/token"), fakegithub.Status(502), -1)
		if err := app.RevokeUnused(t.Context(), m.Token); err != nil || app.PendingRevokes() != 1 {
			t.Fatalf("RevokeUnused = %v with %d pending", err, app.PendingRevokes())
		}
		w.registry.Drop(Ref{})
		if err := w.registry.Upkeep(t.Context()); err == nil || strings.Contains(err.Error(), "ghs_") {
			t.Errorf("Tend during an outage = %v, want an error without the token", err)
		}
		cancel()
		if err := w.registry.Upkeep(t.Context()); err != nil || len(w.Tokens()) != 0 || len(w.registry.dropped) != 0 {
			t.Errorf("Tend = %v with %d live tokens and %d Apps left, want none", err, len(w.Tokens()), len(w.registry.dropped))
		}
	})
}
