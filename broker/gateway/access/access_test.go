package access

import (
	"fmt"
	"testing"

	"github.com/gatepass/gatepass/workspace"
)

// The token for GitHub's API can do what the profile says, and move no ref.
func TestPermissions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		permissions      string
		read, write, api string
	}{
		{"[clone, push]", "map[contents:read]", "map[contents:write]", "map[contents:read]"},
		{"[clone, push, workflow]", "map[contents:read]", "map[contents:write workflows:write]", "map[contents:read]"},
		{"{contents: write, issues: write, pull_requests: read}", "map[contents:read]", "map[contents:write]", "map[contents:read issues:write pull_requests:read]"},
		{"{contents: write, administration: write, merge_queues: write, workflows: write}", "map[contents:read]", "map[contents:write workflows:write]", "map[contents:read]"},
		{"{issues: write}", "map[contents:read]", "map[contents:write]", "map[issues:write]"},
	} {
		p, err := workspace.ParseProfile([]byte("spec: {sourceAccess: {github: {allowedRepos: [a/b], permissions: " + c.permissions + "}}}"))
		if err != nil {
			t.Fatal(err)
		}
		got := []string{fmt.Sprint(permissionsFor(p, Read)), fmt.Sprint(permissionsFor(p, Write)), fmt.Sprint(permissionsFor(p, API))}
		if want := []string{c.read, c.write, c.api}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: tokens have %v, want %v", c.permissions, got, want)
		}
	}
}
