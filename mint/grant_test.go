package mint

import (
	"fmt"
	"maps"
	"strings"
	"testing"
)

func contents(level string) Permissions {
	return PermissionLevels(map[string]string{"contents": level})
}

func TestTheZeroGrantIsRefused(t *testing.T) {
	err := Grant{}.Validate()
	for _, want := range []string{"installation", "repositories", "permissions"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate = %v, want it to name %s", err, want)
		}
	}
}

func TestValidate(t *testing.T) {
	many := make([]int64, MaxRepositories+1)
	for i := range many {
		many[i] = int64(i + 1)
	}
	ok := Grant{Installation: 1, Repositories: RepositoryNames("widgets"), Permissions: contents("read")}
	for _, c := range []struct {
		name   string
		change func(*Grant)
		want   string // "" means valid
	}{
		{"one repository", func(*Grant) {}, ""},
		{"all, said out loud", func(g *Grant) { g.Repositories, g.Permissions = AllRepositories(), AllPermissions() }, ""},
		{"500 repositories", func(g *Grant) { g.Repositories = RepositoryIDs(many[:MaxRepositories]...) }, ""},
		{"501 repositories", func(g *Grant) { g.Repositories = RepositoryIDs(many...) }, "501"},
		{"an empty list of names", func(g *Grant) { g.Repositories = RepositoryNames() }, "the repositories are not decided, and GitHub would read that as all of them"},
		{"an empty map", func(g *Grant) { g.Permissions = PermissionLevels(nil) }, "the permissions are not decided, and GitHub would read that as all of them"},
		{"an owner in a name", func(g *Grant) { g.Repositories = RepositoryNames("acme/widgets") }, "without its owner"},
		{"a wildcard", func(g *Grant) { g.Repositories = RepositoryNames("api-*") }, "is not a repository name; write it without its owner"},
		{"dots", func(g *Grant) { g.Repositories = RepositoryNames("..") }, "is not a repository name; write it without its owner"},
		{"a repository twice", func(g *Grant) { g.Repositories = RepositoryNames("a", "A") }, "twice"},
		{"an id twice", func(g *Grant) { g.Repositories = RepositoryIDs(4, 4) }, "twice"},
		{"id zero", func(g *Grant) { g.Repositories = RepositoryIDs(0) }, "is not a repository ID"},
		{"an unknown level", func(g *Grant) { g.Permissions = contents("rw") }, `level "rw"`},
		{"no level", func(g *Grant) { g.Permissions = contents("") }, `level ""`},
		{"an odd name", func(g *Grant) { g.Permissions = PermissionLevels(map[string]string{"Contents": "read"}) }, "is not a permission name"},
		{"a name GitHub may invent", func(g *Grant) { g.Permissions = PermissionLevels(map[string]string{"quantum_state": "write"}) }, ""},
		{"every letter that there is", func(g *Grant) { g.Repositories = RepositoryNames("azAZ09-_.") }, ""},
		{"as long as a name can be", func(g *Grant) { g.Repositories = RepositoryNames(strings.Repeat("a", 100)) }, ""},
		{"a longer name", func(g *Grant) { g.Repositories = RepositoryNames(strings.Repeat("a", 101)) }, "is not a repository name; write it without its owner"},
		{"no name", func(g *Grant) { g.Repositories = RepositoryNames("") }, "is not a repository name; write it without its owner"},
		{"a brace", func(g *Grant) { g.Repositories = RepositoryNames("a{") }, "is not a repository name; write it without its owner"},
		{"a bracket", func(g *Grant) { g.Repositories = RepositoryNames("a[") }, "is not a repository name; write it without its owner"},
		{"a colon", func(g *Grant) { g.Repositories = RepositoryNames("a:") }, "is not a repository name; write it without its owner"},
		{"all, and one", func(g *Grant) { g.Repositories = Repositories{all: true, names: []string{"a"}} }, "must be given in one way only"},
		{"a name and an id", func(g *Grant) { g.Repositories = Repositories{names: []string{"a"}, pins: []Pin{{ID: 1}}} }, "must be given in one way only"},
		{"all permissions, and one", func(g *Grant) { g.Permissions = Permissions{all: true, levels: map[string]string{"contents": "read"}} }, "must be given in one way only"},
		{"a permission without a name", func(g *Grant) { g.Permissions = PermissionLevels(map[string]string{"": "read"}) }, "is not a permission name"},
		{"a permission with a brace", func(g *Grant) { g.Permissions = PermissionLevels(map[string]string{"a{": "read"}) }, "is not a permission name"},
		{"a long permission", func(g *Grant) { g.Permissions = PermissionLevels(map[string]string{strings.Repeat("z", 100): "read"}) }, ""},
		{"a longer permission", func(g *Grant) { g.Permissions = PermissionLevels(map[string]string{strings.Repeat("z", 101): "read"}) }, "is not a permission name"},
		{"a negative installation", func(g *Grant) { g.Installation = -1 }, "the installation is not decided"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := ok
			c.change(&g)
			err := g.Validate()
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("Validate = %v, want %q", err, c.want)
			}
		})
	}
}

func TestVerbs(t *testing.T) {
	for verbs, want := range map[string]map[string]string{
		"clone":            {"contents": "read"},
		"push clone fetch": {"contents": "write"},
		"comment review":   {"issues": "write", "pull_requests": "write"},
		"checks workflow":  {"checks": "write", "workflows": "write"},
		"fetch actions":    {"contents": "read", "actions": "write"},
	} {
		p, err := Verbs(strings.Fields(verbs)...)
		if err != nil || !maps.Equal(p.Levels(), want) {
			t.Errorf("Verbs(%s) = %v, %v, want %v", verbs, p.Levels(), err, want)
		}
	}
	for _, bad := range [][]string{nil, {"clone", "admin"}, {""}, {"Clone"}} {
		if p, err := Verbs(bad...); err == nil {
			t.Errorf("Verbs(%q) = %v, want an error", bad, p.Levels())
		}
	}
}

func TestPermissionsTogether(t *testing.T) {
	low, high := contents("read"), PermissionLevels(map[string]string{"contents": "write", "issues": "read"})
	for _, c := range []struct {
		name string
		got  Permissions
		want string
	}{
		{"more of one", low.With(high), "map[contents:write issues:read]"},
		{"less of one", high.With(low), "map[contents:write issues:read]"},
		{"another", low.With(PermissionLevels(map[string]string{"checks": "write"})), "map[checks:write contents:read]"},
		{"nothing more", low.With(Permissions{}), "map[contents:read]"},
		{"without one", high.Without(map[string]string{"contents": "read"}), "map[issues:read]"},
		{"without another", low.Without(map[string]string{"issues": "read"}), "map[contents:read]"},
		{"all without one", AllPermissions().Without(map[string]string{"issues": "read"}), "map[]"},
	} {
		if got := fmt.Sprint(c.got.Levels()); got != c.want || c.got.all {
			t.Errorf("%s: %s, all = %v, want %s", c.name, got, c.got.all, c.want)
		}
	}
	if !low.With(AllPermissions()).all || !AllPermissions().With(low).all {
		t.Error("all and some is not all")
	}
	if err := (Permissions{}).Validate(); err == nil {
		t.Error("Validate of none = nil, want an error")
	}
}

func TestLacking(t *testing.T) {
	for _, c := range []struct{ needed, granted, want map[string]string }{
		{nil, nil, map[string]string{}},
		{map[string]string{"contents": "write"}, nil, map[string]string{"contents": "write"}},
		{map[string]string{"contents": "write"}, map[string]string{"contents": "read"}, map[string]string{"contents": "write"}},
		{map[string]string{"contents": "read"}, map[string]string{"contents": "write"}, map[string]string{}},
		{map[string]string{"contents": "read", "checks": "write"}, map[string]string{"contents": "admin", "issues": "write"}, map[string]string{"checks": "write"}},
		{map[string]string{"contents": "read"}, map[string]string{"contents": "some"}, map[string]string{"contents": "read"}},
		{map[string]string{"contents": "some"}, nil, map[string]string{"contents": "some"}},
	} {
		if got := Lacking(c.needed, c.granted); !maps.Equal(got, c.want) {
			t.Errorf("Lacking(%v, %v) = %v, want %v", c.needed, c.granted, got, c.want)
		}
	}
}

func TestCompareSeesWiderAndNarrower(t *testing.T) {
	asked := Grant{Installation: 1, Repositories: RepositoryNames("Widgets", "gone"), Permissions: PermissionLevels(map[string]string{"contents": "write", "checks": "write"})}
	granted := tokenAnswer{
		Selection:    "selected",
		Permissions:  map[string]string{"contents": "read", "metadata": "read", "issues": "read"},
		Repositories: []repository{{1, "widgets", "acme/widgets"}, {2, "other", "acme/other"}},
	}
	d := compare(asked, granted)
	if got := fmt.Sprint(d.wider); got != "[issues: read repository acme/other]" {
		t.Errorf("wider = %s", got)
	}
	if got := fmt.Sprint(d.narrower); got != "[checks: write contents: write repository gone]" {
		t.Errorf("narrower = %s", got)
	}
	// U+212A equals k if case folding is not limited to ASCII.
	alike := tokenAnswer{Selection: "selected", Permissions: map[string]string{"contents": "read"}, Repositories: []repository{{3, "\u212aits", "acme/\u212aits"}}}
	if d := compare(Grant{Installation: 1, Repositories: RepositoryNames("kits"), Permissions: contents("read")}, alike); len(d.wider) != 1 {
		t.Errorf("wider = %v, want a repository that has another name", d.wider)
	}
	granted.Selection = "all"
	if d := compare(asked, granted); !strings.Contains(fmt.Sprint(d.wider), "all repositories") {
		t.Errorf("wider = %v, want all repositories", d.wider)
	}
}
