package workspace_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"

	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/storetest"
	"github.com/gatepass/gatepass/workspace"
	"github.com/gatepass/gatepass/workspace/profile"
)

// newIssuer returns an Issuer with a store in memory and an App that is installed on
// acme. The double replaces GitHub.
func newIssuer() (*workspace.Issuer, *fakegithub.Server) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	signer, err := mint.ParseKey(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	if err != nil {
		panic(err)
	}
	gh, err := fakegithub.New(fakegithub.Options{})
	if err != nil {
		panic(err)
	}
	app, _ := gh.AddApp(fakegithub.App{Slug: "gatepass", Keys: []*rsa.PublicKey{signer.Public()}, Permissions: fakegithub.Permissions{"contents": "write"}})
	_, _ = gh.AddRepository(fakegithub.Repository{Owner: "acme", Name: "widgets"})
	_, err = gh.AddInstallation(fakegithub.Installation{AppID: app.ID, Account: "acme", RepositorySelection: "all"})
	if err != nil {
		panic(err)
	}
	return &workspace.Issuer{
		App:   &mint.App{ID: app.ClientID, Signer: signer, URL: gh.URL() + "/api/v3", Client: gh.Client(), Now: gh.Now},
		Store: &storetest.Memory{Now: gh.Now},
	}, gh
}

const profileText = `
metadata: {name: agent}
spec:
  sourceAccess:
    github:
      allowedRepos: [acme/widgets]
      allowedRefs: ["agent/**"]
`

// A workspace gets its token, a later round replaces the token before it expires, and
// destroying the workspace revokes it.
func Example() {
	issuer, gh := newIssuer()
	defer gh.Close()
	ctx := context.Background()

	p, err := profile.Parse([]byte(profileText))
	if err != nil {
		panic(err)
	}
	record, err := issuer.Create(ctx, "sb-1a2b3c", p, 0)
	if err != nil {
		panic(err)
	}
	fmt.Println(record.Condition(issuer.Time()), record.Owners(), len(gh.Tokens()))

	gh.Advance(45 * time.Minute)
	done, err := (&workspace.Round{Issuer: issuer}).Run(ctx)
	fmt.Println(done.Due, done.Refreshed, done.Minted, err)

	lost, err := issuer.Destroy(ctx, "sb-1a2b3c")
	fmt.Println(lost, err, len(gh.Tokens()))
	// Output:
	// ready [acme] 1
	// 1 1 1 <nil>
	// [] <nil> 0
}

// Plan returns what a run does, from the record and the entries of the store: it
// replaces a token that expires soon, and revokes a superseded token after its grace.
func ExamplePlan() {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	record := &workspace.Record{ID: "sb-1a2b3c", Tokens: []workspace.Token{
		{Owner: "acme", State: workspace.Superseded, Hash: "old", Expires: now.Add(10 * time.Minute), Changed: now.Add(-40 * time.Minute)},
		{Owner: "acme", State: workspace.Delivered, Hash: "new", Expires: now.Add(15 * time.Minute), Changed: now.Add(-40 * time.Minute)},
	}}
	held := workspace.Held{Current: map[string]string{"acme": "new"}, Superseded: []string{"old"}}
	for _, s := range workspace.Plan(record, held, workspace.Want{Owners: []string{"acme"}, Now: now, Margin: 20 * time.Minute, Grace: 20 * time.Minute}) {
		fmt.Printf("%s %s %q: %s\n", s.Do, s.Owner, s.Hash, s.Why)
	}
	// Output:
	// revoke acme "old": another token replaced it
	// mint acme "": no token is valid for long enough
}
