package demo

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// A github is the double with the demo's data: one App, installed by two owners, and
// three private repositories.
type github struct {
	*fakegithub.Server
	app     fakegithub.App
	key     *mint.KeySigner
	pem     []byte // the key in GitHub's format
	widgets fakegithub.Repository
	acme    fakegithub.Installation
	globex  fakegithub.Installation
}

func newGitHub(o fakegithub.Options) (*github, error) {
	text, err := newKey()
	if err != nil {
		return nil, err
	}
	key, err := mint.ParseKey(text)
	if err != nil {
		return nil, err
	}
	server, err := fakegithub.New(o)
	if err != nil {
		return nil, err
	}
	g := &github{Server: server, key: key, pem: text}
	if err := g.populate(); err != nil {
		_ = server.Close() // the first error is the one to report
		return nil, err
	}
	return g, nil
}

// newKey makes the App's key, in the format of GitHub's downloads.
func newKey() ([]byte, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}), nil
}

func (g *github) populate() (err error) {
	g.app, err = g.AddApp(fakegithub.App{
		Slug: "gatepass", Keys: []*rsa.PublicKey{g.key.Public()},
		Permissions: fakegithub.Permissions{"contents": "write"},
	})
	if err != nil {
		return err
	}
	if g.widgets, err = g.AddRepository(fakegithub.Repository{Owner: "acme", Name: "widgets"}); err != nil {
		return err
	}
	if _, err = g.AddRepository(fakegithub.Repository{Owner: "acme", Name: "payroll"}); err != nil {
		return err
	}
	if _, err = g.AddRepository(fakegithub.Repository{Owner: "globex", Name: "gadgets"}); err != nil {
		return err
	}
	if g.acme, err = g.install("acme"); err != nil {
		return err
	}
	g.globex, err = g.install("globex")
	return err
}

func (g *github) install(account string) (fakegithub.Installation, error) {
	return g.AddInstallation(fakegithub.Installation{AppID: g.app.ID, Account: account, RepositorySelection: "all"})
}

// host is the double's address by name; its certificate covers name and number.
func (g *github) host() string { return strings.Replace(g.Host(), "127.0.0.1", "localhost", 1) }

// url returns a repository's URL for git.
func (g *github) url(repository string) string {
	return "https://" + g.host() + "/" + repository + ".git"
}

// gitRequests are git's requests, without those that minted tokens.
func (g *github) gitRequests() []fakegithub.Request {
	var list []fakegithub.Request
	for _, r := range g.Requests() {
		if !strings.HasPrefix(r.Path, apiPath+"/") {
			list = append(list, r)
		}
	}
	return list
}

// otherPush adds a commit to a branch of widgets, like another person's push.
func (d *demo) otherPush(ctx context.Context, message string) error {
	_, err := d.quiet(ctx, d.github.widgets.Dir, `new=$(git commit-tree 'main^{tree}' -p main -m "$1") && git update-ref refs/heads/main "$new"`, message)
	return err
}

// refOf returns the commit of a branch of widgets at GitHub; "" if there is none.
func (d *demo) refOf(ctx context.Context, branch string) string {
	out, err := d.quiet(ctx, d.github.widgets.Dir, `git rev-parse --quiet --verify "refs/heads/$1"`, branch)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(out)
}

// commitOf returns the commit of a revision in the workspace's clone.
func (d *demo) commitOf(ctx context.Context, revision string) (string, error) {
	out, err := d.quiet(ctx, d.home+"/widgets", `git rev-parse --quiet --verify "$1"`, revision)
	if err != nil {
		return "", fmt.Errorf("the clone has no %s", revision)
	}
	return strings.TrimSpace(out), nil
}

// profileText is the profile that a platform engineer writes once for each kind of
// workspace.
const profileText = `spec:
  sourceAccess:
    github:
      allowedRepos: [acme/widgets, "globex/*"]
      allowedRefs: ["agent/**"]
      permissions: [clone, push]
`

// ours is the workspace that the issuing side creates.
const ours = "ci-42"

func (d *demo) issue(ctx context.Context) error {
	live := len(d.github.Tokens())
	shown := d.run(ctx, "", "cat profile.yaml")
	added := d.run(ctx, "", "gatepass app add --app-client-id "+d.github.app.ClientID+" --private-key-file app.pem --non-interactive")
	created := d.run(ctx, "", "gatepass workspace create profile.yaml --id "+ours)
	if err := first(shown.failed, added.failed, created.failed); err != nil {
		return err
	}
	if got := len(d.github.Tokens()) - live; got != 2 {
		return fmt.Errorf("%d more tokens are valid at GitHub, want one for each owner", got)
	}
	for _, owner := range []string{"acme", "globex"} {
		if _, err := os.Stat(d.storedFile("github-tokens", owner)); err != nil {
			return errors.New("the store has no token for " + owner)
		}
	}
	return nil
}

func (d *demo) destroy(ctx context.Context) error {
	live := len(d.github.Tokens())
	if r := d.run(ctx, "", "gatepass workspace destroy "+ours); r.failed != nil {
		return r.failed
	}
	if got := live - len(d.github.Tokens()); got != 2 {
		return fmt.Errorf("%d tokens were revoked, want two", got)
	}
	if _, err := os.Stat(d.storedFile()); !errors.Is(err, fs.ErrNotExist) {
		return errors.New("the store still has entries of the workspace")
	}
	return nil
}

// storedFile is the path of a workspace's file in the store.
func (d *demo) storedFile(names ...string) string {
	return filepath.Join(append([]string{d.home, "store", "sandbox", ours}, names...)...)
}
