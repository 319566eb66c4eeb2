package broker

import (
	"testing"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/workspace"
)

func sharing(t *testing.T, name, sharing, comment string) *workspace.Profile {
	t.Helper()
	p, err := workspace.ParseProfile([]byte("# " + comment + "\nmetadata: {name: " + name + "}\nspec: {sourceAccess: {github: {allowedRepos: [acme/widgets], permissions: [clone]" + sharing + "}}}"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Whoever shares a token is cut off when it is revoked from another: workspaces of one
// profile share, and those of a profile that was changed do not share with those of
// what it was before.
func TestWhoSharesAToken(t *testing.T) {
	a, b := sharing(t, "a", "", ""), sharing(t, "b", "", "")
	own := sharing(t, "a", ", sharing: workspace", "")
	for _, c := range []struct {
		name     string
		one, two Workspace
		want     bool
	}{
		{"two of one profile", Workspace{ID: "x", Profile: a}, Workspace{ID: "y", Profile: a}, true},
		{"one profile that was read twice", Workspace{ID: "x", Profile: a}, Workspace{ID: "y", Profile: sharing(t, "a", "", "")}, true},
		{"sharing: profile, in another text", Workspace{ID: "x", Profile: a}, Workspace{ID: "y", Profile: sharing(t, "a", ", sharing: profile", "")}, false},
		{"two profiles that say the same", Workspace{ID: "x", Profile: a}, Workspace{ID: "y", Profile: b}, false},
		{"a profile before and after it was changed", Workspace{ID: "x", Profile: a}, Workspace{ID: "y", Profile: sharing(t, "a", "", "changed")}, false},
		{"a profile whose workspaces share nothing", Workspace{ID: "x", Profile: own}, Workspace{ID: "y", Profile: own}, false},
		{"one workspace of it", Workspace{ID: "x", Profile: own}, Workspace{ID: "x", Profile: own}, true},
		{"and one of before it said so", Workspace{ID: "x", Profile: own}, Workspace{ID: "x", Profile: a}, false},
	} {
		policy := &Policy{Hosts: []string{"github.com"}}
		c.one.Policy, c.two.Policy = policy, policy
		ask := api.TokenRequest{Host: "github.com", Repo: gitname.Repo{Owner: "acme", Name: "widgets"}, Operation: "read"}
		one, err := Authorize(c.one, ask)
		if err != nil {
			t.Fatal(err)
		}
		two, err := Authorize(c.two, ask)
		if err != nil {
			t.Fatal(err)
		}
		if got := one.Key() == two.Key(); got != c.want {
			t.Errorf("%s: share = %v, want %v (%q, %q)", c.name, got, c.want, one.Key(), two.Key())
		}
	}
}
