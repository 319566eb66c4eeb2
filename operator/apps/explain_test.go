package apps

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// People read "404" and "Resource not accessible" and do not know what to change
// (actions/create-github-app-token#76, #258; actions/actions-runner-controller#444).
// Each answer of GitHub becomes one line that names the fix.
func TestWhatAConditionSays(t *testing.T) {
	everywhere := func(f fakegithub.Fault) func(*world, *mint.Grant) error {
		return func(w *world, _ *mint.Grant) error {
			w.Fail(fakegithub.To("POST", "/access_tokens"), f, 1)
			return nil
		}
	}
	levels := func(texts ...string) mint.Permissions {
		m := map[string]string{}
		for i := 0; i < len(texts); i += 2 {
			m[texts[i]] = texts[i+1]
		}
		return mint.PermissionLevels(m)
	}
	const doing = "mint a token for installation ID: "
	for _, c := range []struct {
		name   string
		change func(*world, *mint.Grant) error
		want   string
	}{
		{
			"a key of another App", func(w *world, _ *mint.Grant) error {
				return errors.Join(w.AddKey(w.app.ID, &keys[1].PublicKey), w.RemoveKey(w.app.ID, &keys[0].PublicKey))
			},
			doing + "GitHub answered 401: A JSON web token could not be decoded; correct the App's ID (appID or clientID), or give it a private key of that App",
		},
		{
			"an installation that was removed", func(w *world, _ *mint.Grant) error { return w.RemoveInstallation(w.installation) },
			doing + "GitHub answered 404: Not Found; install the App on that account, or correct installationID or owner",
		},
		{
			"a suspended installation", func(w *world, _ *mint.Grant) error { return w.Suspend(w.installation, true) },
			doing + "the installation on acme was suspended on DATE by acme; ask the account's owner to unsuspend the installation in its GitHub settings",
		},
		{
			"a permission that the account has not approved", func(w *world, g *mint.Grant) error {
				g.Permissions = levels("contents", "write")
				return w.SetPermissions(w.installation, fakegithub.Permissions{"contents": "read"})
			},
			"check the permissions: the installation on acme lacks contents: write (granted: read); ask an owner of the organization acme to approve it: https://github.test/organizations/acme/settings/installations/ID",
		},
		{
			"a permission that the App does not ask for", func(_ *world, g *mint.Grant) error { g.Permissions = levels("issues", "write"); return nil },
			"check the permissions: the installation on acme lacks issues: write (granted: read); the App does not request it: add it to the permissions of the App gatepass, then ask an owner of the organization acme to approve it: https://github.test/organizations/acme/settings/installations/ID",
		},
		{
			"a repository that is not there", func(_ *world, g *mint.Grant) error { g.Repositories = mint.RepositoryNames("gizmos"); return nil },
			"find acme/gizmos: it does not exist, or the installation cannot reach it; grant it to the App, and ask an owner of the account to approve it",
		},
		{
			"a repository that is not selected", func(w *world, g *mint.Grant) error {
				g.Repositories = mint.RepositoryNames("gadgets")
				if _, err := w.AddRepository(fakegithub.Repository{Owner: "acme", Name: "gadgets"}); err != nil {
					return err
				}
				return w.SetRepositories(w.installation, "selected", "widgets")
			},
			"find acme/gadgets: it does not exist, or the installation cannot reach it; grant it to the App, and ask an owner of the account to approve it",
		},
		{
			"a repository that was renamed", func(w *world, _ *mint.Grant) error { return w.RenameRepository("acme", "widgets", "sprockets") },
			"find acme/widgets: its name is acme/sprockets now; write its new name",
		},
		{
			"a rate limit", everywhere(fakegithub.RateLimited(90 * time.Second)),
			doing + "GitHub answered 429: API rate limit exceeded; the operator tries again by itself",
		},
		{
			"a secondary rate limit", everywhere(fakegithub.SecondaryRateLimited(-1)),
			doing + "GitHub answered 403: You have exceeded a secondary rate limit. Please wait a few minutes before you try again; the operator tries again by itself",
		},
		{
			"an outage", everywhere(fakegithub.Status(502)),
			doing + "GitHub answered 502: Bad Gateway; the operator tries again by itself",
		},
		{
			"an IP allow list", everywhere(fakegithub.NotOnIPAllowList("acme")),
			doing + "GitHub answered 403: Although you appear to have the correct authorization credentials, the `acme` organization has an IP allow list enabled, and your IP address is not permitted to access this resource; ask an owner of the account to add the operator's public address to its IP allow list",
		},
		{
			"a refusal", everywhere(fakegithub.Status(403)),
			doing + "GitHub answered 403: Forbidden; check the App's permissions in its settings at GitHub",
		},
		{
			"a moved repository id", func(_ *world, g *mint.Grant) error { g.Repositories = mint.RepositoryIDs(4711); return nil },
			doing + "GitHub answered 422: There is at least one repository that does not exist or is not accessible to the parent installation; grant it to the App, and ask an owner of the account to approve it",
		},
	} {
		w := newWorld(t)
		w.own(t)
		app, err := w.registry.Get(t.Context(), Ref{})
		if err != nil {
			t.Fatal(err)
		}
		g := w.grant()
		if err := c.change(w, &g); err != nil {
			t.Fatal(c.name, err)
		}
		_, err = app.Mint(t.Context(), g)
		if err == nil {
			t.Errorf("%s: Mint = nil", c.name)
			continue
		}
		got := w.registry.Diagnose(t.Context(), app, g, err)
		got = regexp.MustCompile(`\b`+fmt.Sprint(w.installation)+`\b`).ReplaceAllString(got, "ID")
		got = regexp.MustCompile(`\b\d{4}-\d\d-\d\d\b`).ReplaceAllString(got, "DATE") // midnight may pass in between
		if got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
		if live := w.Tokens(); len(live) != 0 {
			t.Errorf("%s: %d tokens are alive, want none", c.name, len(live))
		}
	}
}

// An unknown App is a 404 of another kind.
func TestAWrongAppID(t *testing.T) {
	w := newWorld(t)
	w.own(t)
	write(t, w.config, "app_id: 4711\nkey: "+w.key+"\n")
	if _, err := w.registry.Own.Reload(); err != nil {
		t.Fatal(err)
	}
	app, err := w.registry.Get(t.Context(), Ref{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = app.Self(t.Context())
	const want = "ask GitHub which App this is: GitHub answered 404: Integration not found; correct the App's ID (appID or clientID), or give it a private key of that App"
	if err == nil || app.Explain(err) != want {
		t.Errorf("Explain = %v, want %s", err, want)
	}
}

// Of a thousand Tokens with the same mistake each asks GitHub for the reason, and so
// the App is blocked for all others.
func TestReasonsAreLookedForSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.own(t)
		app, err := w.registry.Get(t.Context(), Ref{})
		if err != nil {
			t.Fatal(err)
		}
		why := func(name string) string {
			g := w.grant()
			g.Repositories = mint.RepositoryNames(name)
			_, err := app.Mint(t.Context(), g)
			if e, ok := errors.AsType[*mint.Error](err); !ok || e.Kind != mint.NotGranted {
				t.Fatalf("Mint = %v, want a refusal", err)
			}
			return w.registry.Diagnose(t.Context(), app, g, err)
		}
		for range 20 {
			why("gizmos")
		}
		if n := w.all(); n > 30 {
			t.Errorf("GitHub is asked %d times about 20 mints of one mistake", n)
		}
		for n := range 100 {
			why(fmt.Sprint("gizmos-", n))
		}
		if n := w.all(); n > 20+100+maxReasons*7 {
			t.Errorf("GitHub is asked %d times about 120 mints, want few for reasons", n)
		}
		time.Sleep(time.Minute)
		if got := why("gizmos-99"); !strings.HasPrefix(got, "find acme/gizmos-99: ") {
			t.Errorf("a minute later Why = %s, want the reason", got)
		}
	})
}
