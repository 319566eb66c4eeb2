package issuing

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/testkey"
	"github.com/gatepass/gatepass/workspace/profile"
)

// profiles parses one profile from each text: repositories, a slash, permissions.
func profiles(t *testing.T, texts ...string) []*profile.Profile {
	t.Helper()
	var all []*profile.Profile
	for _, text := range texts {
		repositories, permissions, _ := strings.Cut(text, " with ")
		p, err := profile.Parse([]byte("spec: {sourceAccess: {github: {allowedRepos: [" + repositories + "], permissions: " + permissions + "}}}"))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

func TestNeeds(t *testing.T) {
	asked := map[string]string{"contents": "write"}
	read := `acme/x with {contents: read}`
	write := `acme/y, "Globex/*" with {contents: write, checks: write}`
	everywhere := `"*" with {issues: read}`
	nothing := ` with {actions: write}`
	for _, c := range []struct {
		name     string
		profiles []string
		login    string
		want     string
		reach    Reach
	}{
		{"without profiles, what the App asks", nil, "acme", "contents: write", Covered},
		{"one profile", []string{read}, "acme", "contents: read", Named},
		{"in another case", []string{read}, "ACME", "contents: read", Named},
		{"another account", []string{read}, "globex", "", None},
		{"two profiles, the higher level", []string{write, read}, "acme", "checks: write, contents: write", Named},
		{"the other way round", []string{read, write}, "acme", "checks: write, contents: write", Named},
		{"everything", []string{everywhere}, "globex", "issues: read", Covered},
		{"everything and by name", []string{everywhere, read}, "acme", "contents: read, issues: read", Named},
		{"no repositories at all", []string{nothing}, "acme", "", None},
	} {
		n := Needs{Profiles: profiles(t, c.profiles...), Asked: asked}
		needed, reach := n.Of(c.login)
		if got := mint.LevelsText(needed); got != c.want || reach != c.reach {
			t.Errorf("%s: Of(%s) = %q, %v, want %q, %v", c.name, c.login, got, reach, c.want, c.reach)
		}
	}
	n := Needs{Profiles: profiles(t, read, write, nothing), Asked: asked}
	if got, want := mint.LevelsText(n.All()), "checks: write, contents: write"; got != want {
		t.Errorf("All = %q, want %q", got, want)
	}
	if got, want := n.Owners(), []string{"acme", "globex"}; !slices.Equal(got, want) {
		t.Errorf("Owners = %q, want %q", got, want)
	}
}

const at = "https://github.test"

func TestExamine(t *testing.T) {
	const (
		permissions = at + "/organizations/acme/settings/apps/sandbox-pass/permissions"
		install     = at + "/apps/sandbox-pass/installations/new"
		settings    = at + "/organizations/acme/settings/installations/1"
	)
	for _, c := range []struct {
		name     string
		granted  fakegithub.Permissions // on acme, installation 1; nil means all that the App asks for
		asleep   bool
		stored   map[string]string
		profiles []string
		want     []string // problems: text; mend
	}{
		{"all is well", nil, false, map[string]string{"acme": "1"}, nil, nil},
		{"for a profile too", nil, false, map[string]string{"acme": "1"}, []string{`acme/x with [clone, push]`}, nil},
		{
			"granted less than the App asks",
			fakegithub.Permissions{"contents": "read"},
			false,
			map[string]string{"acme": "1"},
			nil,
			[]string{"acme has not granted contents: write, issues: write; ask an owner of acme to approve it: " + settings + "/permissions/update"},
		},
		{"but all that the profile needs", fakegithub.Permissions{"contents": "read"}, false, map[string]string{"acme": "1"}, []string{`acme/x with [clone]`}, nil},
		{"and nothing is needed there", fakegithub.Permissions{"contents": "read"}, true, map[string]string{"acme": "9"}, []string{` with [push]`}, nil},
		{
			"a profile needs what the App does not ask", nil, false,
			map[string]string{"acme": "1"},
			[]string{`acme/x with {checks: write, contents: read}`},
			[]string{
				"the App does not request checks: write; add it in the App's settings, then ask every account to approve it: " + permissions,
				"acme has not granted checks: write; ask an owner of acme to approve it: " + settings,
			},
		},
		{
			"suspended", nil, true,
			map[string]string{"acme": "1"},
			nil,
			[]string{"acme: the installation is suspended since 2026-03-04; ask its owner to unsuspend it: " + settings},
		},
		{"suspended, and no profile needs it", nil, true, map[string]string{"globex": "3"}, nil, []string{"globex: GitHub has no installation there; install the App there: " + install + ", or run gatepass app discover --prune --force"}},
		{"another id", nil, false, map[string]string{"acme": "7"}, nil, []string{"acme: the store has 7, GitHub 1; run gatepass app discover --force"}},
		{"not in the store, but looked up by name", nil, false, nil, []string{`acme/x with [clone]`}, nil},
		{"not in the store, where all is needed", nil, false, nil, []string{`"*" with [clone]`}, []string{
			"the store has no installation, so * matches nothing; run gatepass app discover",
		}},
		{"installed elsewhere only", nil, false, map[string]string{"acme": "1"}, []string{`"Initech/*" with [clone]`}, []string{
			"a profile names initech, but the App is not installed there; make it public, because only acme can install a private App: https://github.test/organizations/acme/settings/apps/sandbox-pass/advanced, then install it there: " + install + ", then run gatepass app discover",
		}},
		{"in GitHub's case, as the first system wrote it", nil, false, map[string]string{"Acme": "1"}, []string{`acme/x with [clone]`}, nil},
		{"renamed", nil, false, map[string]string{"acme": "1", "before": "1"}, []string{`before/x with [clone]`}, []string{
			"before: the installation is on acme now; write acme in the profiles, and run gatepass app discover --prune --force",
		}},
		{"a stale entry that no profile needs", nil, false, map[string]string{"acme": "1", "globex": "3"}, []string{`acme/x with [clone]`}, nil},
		{"a stale entry of which all is needed", nil, false, map[string]string{"acme": "1", "globex": "3"}, []string{`"*" with [clone]`}, []string{
			"globex: GitHub has no installation there; install the App there: " + install + ", or run gatepass app discover --prune --force",
		}},
	} {
		w := newWorldAt(t, suspended(mint.Installation{}).SuspendedAt)
		if _, err := w.AddInstallation(fakegithub.Installation{ID: 1, AppID: w.appID, Account: "acme", Permissions: c.granted, Suspended: c.asleep}); err != nil {
			t.Fatal(err)
		}
		for login, id := range c.stored {
			put(t, w.store, map[string]string{folder + login: id})
		}
		before := entries(t, w.store)
		st, err := Examine(t.Context(), w.store, w.app, Needs{Profiles: profiles(t, c.profiles...)})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range st.Problems {
			got = append(got, p.Text+"; "+p.Fix)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: Examine finds\n%s\nwant\n%s", c.name, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
		if !maps.Equal(entries(t, w.store), before) || len(w.Tokens()) > 0 {
			t.Errorf("%s: Examine changed the store or minted a token", c.name)
		}
	}
}

func TestExamineWhereTheAppIsNotInstalled(t *testing.T) {
	w := newWorld(t)
	st, err := Examine(t.Context(), w.store, w.app, Needs{})
	if err != nil || len(st.Problems) != 1 || st.Problems[0].Text != "the App is not installed on any account" {
		t.Errorf("Examine = %v, %v, want that it is not installed", st.Problems, err)
	}
}

func TestExamineWithAKeyThatIsNotTheApps(t *testing.T) {
	w := newWorld(t)
	put(t, w.store, map[string]string{folder + "acme": "1", "config/github/installation-id": "1"})
	other := testkey.RSA(2048, 2)
	w.app.Key = keyOf(t, other)
	w.app.Signer = w.app.Key
	st, err := Examine(t.Context(), w.store, w.app, Needs{})
	if err != nil || len(st.Problems) != 1 || !strings.Contains(st.Problems[0].Text, "GitHub does not accept the key "+mint.Fingerprint(&other.PublicKey)) {
		t.Errorf("Examine = %v, %v, want the key refused", st.Problems, err)
	}
	if len(st.Installations) != 1 || st.Installations[0].State != Unchecked || st.Installations[0].Stored != 1 || st.Legacy != 1 {
		t.Errorf("Examine = %+v, want what the store has", st.Installations)
	}
}

func TestSettingsURL(t *testing.T) {
	for _, c := range []struct{ kind, want, permissions string }{
		{"Organization", at + "/organizations/acme/settings/apps/pass", "/permissions"},
		{"User", at + "/settings/apps/pass", "/permissions"},
		{"Enterprise", at + "/apps/pass", ""},
	} {
		app := mint.Registration{Slug: "pass", HTMLURL: at + "/apps/pass", Owner: mint.Account{Login: "acme", Type: c.kind}}
		if got := SettingsURL(at+"/", app); got != c.want {
			t.Errorf("SettingsURL of a %s's = %s, want %s", c.kind, got, c.want)
		}
		if got, want := PermissionsURL(at+"/", app), c.want+c.permissions; got != want {
			t.Errorf("PermissionsURL of a %s's = %s, want %s", c.kind, got, want)
		}
	}
}
