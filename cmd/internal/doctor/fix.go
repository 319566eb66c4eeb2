package doctor

import (
	"context"
	"errors"
	"fmt"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/workspace"
)

// Fix removes things that Look found, and reports for each what was done. It first
// checks each thing again; things of a workspace only while no other run works on that
// workspace.
func (c *Checkup) Fix(ctx context.Context, things []Thing) []Finding {
	issuer, err := c.issuer(ctx)
	var found []Finding
	for _, t := range things {
		done := ""
		failed := err
		if failed == nil {
			done, failed = c.fix(ctx, issuer, t)
		}
		found = append(found, outcome(t, done, failed))
	}
	return found
}

// issuer returns an issuer that can revoke and never mints.
func (c *Checkup) issuer(ctx context.Context) (*workspace.Issuer, error) {
	i, app, err := issuing.NewIssuer(ctx, c.Store, c.GitHub)
	if err != nil {
		return nil, err
	}
	app.Client, app.Now = c.Client, c.now // times in the ledger follow GitHub's clock
	i.Unready = errors.New("gatepass doctor mints no tokens")
	return i, nil
}

func outcome(t Thing, done string, err error) Finding {
	found := Finding{Level: OK, Text: t.What + ": " + done}
	switch {
	case errors.Is(err, workspace.ErrBusy) || errors.Is(err, workspace.ErrInUse) || errors.Is(err, errAlive):
		found = FromError(Warning, err, "run gatepass doctor again")
		found.Text = t.What + ", is left: " + found.Text
	case err != nil:
		found = FromError(Failure, err, "run gatepass doctor --fix again")
		found.Text = t.What + ": " + found.Text
	}
	found.Group = debrisGroup
	return found
}

// errAlive reports that something was added to a workspace since Look.
var errAlive = errors.New("there is something of the workspace by now")

func (c *Checkup) fix(ctx context.Context, i *workspace.Issuer, t Thing) (done string, err error) {
	switch t.Kind {
	case Tokens:
		if err := c.checkForgotten(ctx, t); err != nil {
			return "", err
		}
		return end(ctx, i, t.Workspace)
	case Destruction:
		return end(ctx, i, t.Workspace)
	case Superseded:
		return counting(i, func() error { return i.Tidy(ctx, t.Workspace) })
	case Lock:
		return "removed", i.Unlock(ctx, t.Workspace)
	}
	return "", fmt.Errorf("there is no kind %q", t.Kind)
}

// checkForgotten returns an error if something was added to a workspace's folder since
// Look, or a token in it was written again.
func (c *Checkup) checkForgotten(ctx context.Context, t Thing) error {
	names, err := c.names(ctx, t.Workspace)
	if err != nil || len(names) == 0 {
		return err
	}
	f := &folder{names: names}
	err = c.date(ctx, f)
	if err == nil && (!f.isForgotten() || f.has(isForeign) || f.written.After(t.written)) {
		err = usererr.Wrap("clear "+t.Workspace, errAlive, "")
	}
	return err
}

// end clears a workspace that no longer exists.
func end(ctx context.Context, i *workspace.Issuer, id string) (done string, err error) {
	lost := 0
	done, err = counting(i, func() error {
		tokens, err := i.Clear(ctx, id)
		lost = len(tokens)
		return err
	})
	done += ", nothing is left of it in the store"
	if lost > 0 {
		done += "; " + count(lost, "token") + " may be alive that nobody has"
	}
	return done, err
}

// counting runs work and reports how many tokens it revoked.
func counting(i *workspace.Issuer, work func() error) (done string, err error) {
	revoked := 0
	i.Audit = func(e workspace.Event) {
		if e.Type == workspace.Ended {
			revoked++
		}
	}
	defer func() { i.Audit = nil }()
	err = work()
	return "revoked " + count(revoked, "token"), err
}
