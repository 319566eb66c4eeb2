package mint_test

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
)

// newApp returns an App that is installed on acme, which has two repositories. The
// double stands for GitHub.
func newApp() (*mint.App, *fakegithub.Server) {
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
	_, _ = gh.AddRepository(fakegithub.Repository{Owner: "acme", Name: "gadgets"})
	_, err = gh.AddInstallation(fakegithub.Installation{AppID: app.ID, Account: "acme", RepositorySelection: "all"})
	if err != nil {
		panic(err)
	}
	return &mint.App{ID: app.ClientID, Signer: signer, URL: gh.URL() + "/api/v3", Client: gh.Client()}, gh
}

// An App mints a token that opens one repository, for reading and for an hour.
func Example() {
	app, gh := newApp()
	defer gh.Close()
	ctx := context.Background()

	found, err := app.InstallationOf(ctx, "acme")
	if err != nil {
		panic(err)
	}
	minted, err := app.Mint(ctx, mint.Grant{
		Installation: found.ID,
		Repositories: mint.RepositoryNames("widgets"),
		Permissions:  mint.PermissionLevels(map[string]string{"contents": "read"}),
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(minted.Token.Repositories, minted.Token.Permissions)
	fmt.Println(time.Until(minted.Token.Expiry).Round(time.Hour), len(gh.Tokens()))

	if err := app.Revoke(ctx, minted.Token); err != nil {
		panic(err)
	}
	fmt.Println(len(gh.Tokens()))
	// Output:
	// [acme/widgets] map[contents:read metadata:read]
	// 1h0m0s 1
	// 0
}

// Patterns become one grant for each owner. A repository is asked of its owner's
// installation only.
func ExampleApp_Resolve() {
	app, gh := newApp()
	defer gh.Close()
	ctx := context.Background()

	var patterns []mint.Pattern
	for _, text := range []string{"acme/widgets", "octo/gizmos"} {
		p, err := mint.ParsePattern(text)
		if err != nil {
			panic(err)
		}
		patterns = append(patterns, p)
	}
	found, err := app.InstallationOf(ctx, "acme")
	if err != nil {
		panic(err)
	}
	push, err := mint.Verbs("clone", "push")
	if err != nil {
		panic(err)
	}
	_, err = app.Resolve(ctx, patterns, push, []mint.Installation{found})
	fmt.Println(err)
	grants, err := app.Resolve(ctx, patterns[:1], push, []mint.Installation{found})
	fmt.Println(len(grants), grants[0].Owner, grants[0].Permissions.Levels(), err)
	// Output:
	// find the installation on octo: the App is not installed on octo; install the App on that account, then run gatepass app discover
	// 1 acme map[contents:write] <nil>
}

// GitHub treats an absent list as everything. So Validate refuses a Grant that does not
// say what it opens, and everything has constructors.
func ExampleGrant_Validate() {
	g := mint.Grant{Installation: 7, Permissions: mint.PermissionLevels(map[string]string{"contents": "read"})}
	fmt.Println(g.Validate())
	g.Repositories = mint.AllRepositories()
	fmt.Println(g.Validate())
	// Output:
	// the repositories are not decided, and GitHub would read that as all of them
	// <nil>
}

func ExamplePattern_Match() {
	p, err := mint.ParsePattern("acme/web-*")
	if err != nil {
		panic(err)
	}
	fmt.Println(p.Match("Acme", "web-shop"), p.Match("acme", "shop"), p.Match("acme-eu", "web-shop"))
	// Output:
	// true false false
}
