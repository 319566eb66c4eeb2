package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/gatepass/gatepass/broker"
)

// gatewaySteps is the chapter in which the workspace has no token.
func (d *demo) gatewaySteps() []step {
	return []step{
		{
			"gateway", "Gateway mode: git talks to the broker, the broker to GitHub. The workspace has no token at all",
			"gatepass install sends git through the gateway, and gatepass token has none to give",
			d.useGateway,
		},
		{
			"through", "git works as before, under the URLs it has",
			"git pushes an allowed branch through the gateway, and no token reaches the workspace",
			d.pushThrough,
		},
		{
			"enforce", "The guard can be skipped. The gateway cannot: it decides on what is pushed",
			"git push --no-verify to main is refused by the gateway; GitHub receives nothing",
			d.enforce,
		},
	}
}

func (d *demo) useGateway(ctx context.Context) error {
	if err := d.source.allow(broker.TokensNone); err != nil {
		return err
	}
	if err := os.WriteFile(d.env["GATEPASS_CONFIG"], []byte(d.workspaceFile("gateway: "+d.source.gateway+"\n")), 0o644); err != nil {
		return err
	}
	shown := d.run(ctx, "", "cat workspace.yaml")
	installed := d.run(ctx, "", "gatepass install --global")
	token := d.run(ctx, "widgets", "gatepass token --repo acme/widgets")
	if token.failed == nil {
		return errors.New("gatepass token gave one")
	}
	return first(shown.failed, installed.failed, token.fetched())
}

func (d *demo) pushThrough(ctx context.Context) error {
	fetched := d.run(ctx, "widgets", "git fetch")
	begun := d.run(ctx, "widgets", "git switch -q -c agent/add-a-test origin/main")
	committed := d.run(ctx, "widgets", "git commit -q --allow-empty -m 'Add a test'")
	r := d.run(ctx, "widgets", "git push origin agent/add-a-test")
	d.count(r)
	want, err := d.commitOf(ctx, "HEAD")
	if err := first(fetched.failed, begun.failed, committed.failed, r.failed, err, r.fetched()); err != nil {
		return err
	}
	if got := d.refOf(ctx, "agent/add-a-test"); got != want {
		return fmt.Errorf("agent/add-a-test is at %q, want %q", got, want)
	}
	return nil
}

func (d *demo) enforce(ctx context.Context) error {
	before := d.refOf(ctx, "main")
	r := d.run(ctx, "widgets", "git push --no-verify origin HEAD:main")
	d.count(r)
	for _, q := range r.requests {
		if q.Method == "POST" && strings.HasSuffix(q.Path, "/git-receive-pack") {
			return errors.New("GitHub was sent the push")
		}
	}
	if d.refOf(ctx, "main") != before {
		return errors.New("main has moved")
	}
	return first(r.refused("[remote rejected] HEAD -> main (gatepass: no rule allows it (update))", "remote: gatepass: allowed: agent/**"), r.fetched())
}
