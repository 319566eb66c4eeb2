package gcpkms

import (
	"crypto/rsa"
	"net/http"
	"testing"

	"github.com/gatepass/gatepass/internal/fakegithub"
	"github.com/gatepass/gatepass/mint"
)

// A thousand tokens cost one signature: Cloud KMS bills and limits each.
func TestAThousandMintsSignOnce(t *testing.T) {
	gh, err := fakegithub.New(fakegithub.Options{HandlerOnly: true, Root: t.TempDir(), RateLimit: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { gh.Close() })
	registered, err := gh.AddApp(fakegithub.App{Keys: []*rsa.PublicKey{&keys[0].PublicKey}, Permissions: fakegithub.Permissions{"contents": "write"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gh.AddRepository(fakegithub.Repository{Owner: "acme", Name: "widgets"}); err != nil {
		t.Fatal(err)
	}
	installation, err := gh.AddInstallation(fakegithub.Installation{AppID: registered.ID, Account: "acme", RepositorySelection: "all"})
	if err != nil {
		t.Fatal(err)
	}
	read := mint.PermissionLevels(map[string]string{"contents": "read"})
	d := &double{}
	app := &mint.App{ID: registered.ClientID, Signer: serve(t, d, appKey), URL: "https://github.test", Client: &http.Client{Transport: gh.Transport()}, Now: gh.Now}
	for range 1000 {
		if _, err := app.Mint(t.Context(), mint.Grant{Installation: installation.ID, Repositories: mint.RepositoryNames("widgets"), Permissions: read}); err != nil {
			t.Fatal(err)
		}
	}
	if self, err := app.Self(t.Context()); err != nil || self.ID != registered.ID {
		t.Errorf("Self = %+v, %v, want the App whose key it is", self, err)
	}
	checkCalls(t, d, 1, 1, 1)
}
