// Package signertest tests what every signer of an App's JWTs must do, with the GitHub
// double.
package signertest

import (
	"crypto/rsa"
	"net/http"
	"testing"

	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// MintThousand registers an App with the key, checks that the signer signs for that
// App, and mints a thousand tokens. The caller must count the signer's requests to its
// KMS, which bills and throttles each signature.
func MintThousand(t *testing.T, key *rsa.PublicKey, signer mint.Signer) {
	t.Helper()
	gh, err := fakegithub.New(fakegithub.Options{HandlerOnly: true, RESTOnly: true, Root: t.TempDir(), RateLimit: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { gh.Close() })
	registered, err := gh.AddApp(fakegithub.App{Keys: []*rsa.PublicKey{key}, Permissions: fakegithub.Permissions{"contents": "write"}})
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
	app := &mint.App{ID: registered.ClientID, Signer: signer, URL: "https://github.test", Client: &http.Client{Transport: gh.Transport()}, Now: gh.Now}
	if self, err := app.Self(t.Context()); err != nil || self.ID != registered.ID {
		t.Errorf("Self = %+v, %v, want the App whose key it is", self, err)
	}
	grant := mint.Grant{
		Installation: installation.ID, Repositories: mint.RepositoryNames("widgets"),
		Permissions: mint.PermissionLevels(map[string]string{"contents": "read"}),
	}
	for range 1000 {
		if _, err := app.Mint(t.Context(), grant); err != nil {
			t.Fatal(err)
		}
	}
	if live := len(gh.Tokens()); live != 1000 {
		t.Errorf("%d tokens were minted, want 1000", live)
	}
}
