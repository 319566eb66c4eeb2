package workspace

import (
	"crypto/rsa"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/test/fakegithub"
)

// The App asks for checks, and acme has not approved that yet: the workspace
// gets the rest, is told, and has checks with the refresh after the approval.
func TestOptionalPermissions(t *testing.T) {
	c := newCity(t)
	p, err := ParseProfile([]byte(spec("      allowedRepos: [acme/widgets]\n      permissions: [push]\n      optionalPermissions: [checks, clone]\n")))
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.run(&mortal{}).Create(t.Context(), "sb-1", p, 0)
	if err != nil {
		t.Fatal(err)
	}
	got := r.Tokens[len(r.Tokens)-1]
	if got.Permissions["contents"] != "write" || got.Permissions["checks"] != "" || !strings.Contains(got.Note, "without checks: write") {
		t.Errorf("the ledger says %+v, want a token without checks, and a note", got)
	}
	c.checkLive(1, 0)
	app, err := c.AddApp(fakegithub.App{Slug: "more", Keys: []*rsa.PublicKey{&testKey.PublicKey}, Permissions: map[string]string{"contents": "write", "checks": "write"}})
	if err != nil {
		t.Fatal(err)
	}
	c.app = app
	c.settleIn("zeta")
	p.Repositories = profile(t, "zeta/widgets").Repositories
	if r, err = c.run(&mortal{}).Create(t.Context(), "sb-2", p, 0); err != nil {
		t.Fatal(err)
	}
	if got := r.Tokens[0]; got.Permissions["checks"] != "write" || got.Note != "" {
		t.Errorf("the ledger says %+v, want a token with checks", got)
	}
}

// What is required is never left out.
func TestRequiredPermissionsAreNotDegraded(t *testing.T) {
	c := newCity(t)
	p, err := ParseProfile([]byte(spec("      allowedRepos: [acme/widgets]\n      permissions: [push, checks]\n      optionalPermissions: [comment]\n")))
	if err != nil {
		t.Fatal(err)
	}
	if r, err := c.run(&mortal{}).Create(t.Context(), "sb-1", p, 0); err == nil || !strings.Contains(err.Error(), "lacks checks: write") {
		t.Errorf("Create = %+v, %v, want it to name what is not granted", r, err)
	}
	c.checkNames("workspace")
	c.checkLive(0, 0)
}
