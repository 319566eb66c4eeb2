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
	ok := Grant{1, RepositoryNames("widgets"), contents("read")}
	for _, c := range []struct {
		name   string
		change func(*Grant)
		want   string // "" means valid
	}{
		{"one repository", func(*Grant) {}, ""},
		{"all, said out loud", func(g *Grant) { g.Repositories, g.Permissions = AllRepositories(), AllPermissions() }, ""},
		{"500 repositories", func(g *Grant) { g.Repositories = RepositoryIDs(many[:MaxRepositories]...) }, ""},
		{"501 repositories", func(g *Grant) { g.Repositories = RepositoryIDs(many...) }, "501"},
		{"an empty list of names", func(g *Grant) { g.Repositories = RepositoryNames() }, "no repositories"},
		{"an empty map", func(g *Grant) { g.Permissions = PermissionLevels(nil) }, "no permissions"},
		{"an owner in a name", func(g *Grant) { g.Repositories = RepositoryNames("acme/widgets") }, "without its owner"},
		{"a wildcard", func(g *Grant) { g.Repositories = RepositoryNames("api-*") }, "no repository name"},
		{"dots", func(g *Grant) { g.Repositories = RepositoryNames("..") }, "no repository name"},
		{"a repository twice", func(g *Grant) { g.Repositories = RepositoryNames("a", "A") }, "twice"},
		{"an id twice", func(g *Grant) { g.Repositories = RepositoryIDs(4, 4) }, "twice"},
		{"id zero", func(g *Grant) { g.Repositories = RepositoryIDs(0) }, "no repository id"},
		{"an unknown level", func(g *Grant) { g.Permissions = contents("rw") }, `level "rw"`},
		{"no level", func(g *Grant) { g.Permissions = contents("") }, `level ""`},
		{"an odd name", func(g *Grant) { g.Permissions = PermissionLevels(map[string]string{"Contents": "read"}) }, "no permission name"},
		{"a name GitHub may invent", func(g *Grant) { g.Permissions = PermissionLevels(map[string]string{"quantum_state": "write"}) }, ""},
		{"a negative installation", func(g *Grant) { g.Installation = -1 }, "no installation"},
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
	asked := Grant{1, RepositoryNames("Widgets", "gone"), PermissionLevels(map[string]string{"contents": "write", "checks": "write"})}
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
	granted.Selection = "all"
	if d := compare(asked, granted); !strings.Contains(fmt.Sprint(d.wider), "all repositories") {
		t.Errorf("wider = %v, want all repositories", d.wider)
	}
}
