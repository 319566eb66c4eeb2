package demo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// profile is the profile that a platform engineer writes once for each kind of
// workspace.
const profile = `spec:
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
		return fmt.Errorf("%d tokens more are alive at GitHub, want one for each owner", got)
	}
	for _, owner := range []string{"acme", "globex"} {
		if _, err := os.Stat(d.kept("github-tokens", owner)); err != nil {
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
	if _, err := os.Stat(d.kept()); !errors.Is(err, fs.ErrNotExist) {
		return errors.New("something of the workspace is left in the store")
	}
	return nil
}

// kept is the path of a workspace's file in the store.
func (d *demo) kept(names ...string) string {
	return filepath.Join(append([]string{d.home, "store", "sandbox", ours}, names...)...)
}
