package main

import (
	"context"
	"errors"
	"net/url"
	"os"
	"sync"

	"github.com/gatepass/gatepass/cmd/internal/doctor"
	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/internal/workspacefile"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/store"
	"github.com/urfave/cli/v2"
)

// The values of --side.
const (
	workspaceSide = "workspace"
	issuingSide   = "issuing"
	bothSides     = "both"
)

// nothingSetUp is what to do first.
const nothingSetUp = "no workspace file and no App is here; where git runs: write " + config.DefaultPath + " and run gatepass install; " +
	"to issue tokens: gatepass app create, or gatepass app add; to see it all at work: gatepass demo"

// An order is what the doctor is asked to do.
type order struct {
	workspace, issuing bool
	fix                bool
	github             string
	hint               string
}

func (w *app) doctorOrder(c *cli.Context) (o order, err error) {
	if err := noArguments(c); err != nil {
		return o, err
	}
	if c.IsSet("timeout") && c.Duration("timeout") <= 0 {
		return o, usage(c, "--timeout is a time such as 5s")
	}
	o.fix = c.Bool("fix")
	switch side := c.String("side"); side {
	case workspaceSide, issuingSide, bothSides:
		o.workspace, o.issuing = side != issuingSide, side != workspaceSide
	case "":
		w.chooseSides(c, &o)
	default:
		return o, usage(c, "--side is issuing, workspace or both")
	}
	switch {
	case c.Bool("yes") && !o.fix:
		return o, usage(c, "--yes goes with --fix")
	case o.fix && !o.issuing:
		return o, usage(c, "--fix is about the issuing side")
	case c.Bool("gateway") && !o.workspace:
		return o, usage(c, "--gateway is about the workspace side")
	case o.fix && !c.Bool("yes") && !w.canAsk():
		return o, usage(c, "--fix asks first, and there is no terminal: add --yes")
	case o.issuing:
		o.github, err = w.github(c)
	}
	return o, err
}

// chooseSides takes what is set up here.
func (w *app) chooseSides(c *cli.Context, o *order) {
	isNamed := c.String("store") != "" || w.getenv(issuing.StoreVariable) != ""
	o.issuing = isNamed || o.fix || w.hasApp(c.Context)
	_, err := os.Stat(workspacefile.Path(w.getenv))
	hasFile := c.Bool("gateway") || w.getenv(config.PathVariable) != "" || err == nil
	o.workspace = hasFile || !o.issuing
	if !hasFile && !o.issuing {
		o.hint = nothingSetUp
	}
}

// hasApp reports whether an App is set up in the default store, or that store
// cannot be read, which is worth a look as well.
func (w *app) hasApp(ctx context.Context) bool {
	url, err := issuing.DefaultStore(w.getenv)
	if err != nil {
		return false
	}
	s, err := issuing.OpenStore(url)
	if err != nil {
		return false
	}
	kept, err := issuing.Kept(ctx, s)
	return len(kept) > 0 || err != nil && !errors.Is(err, store.ErrNotFound)
}

// lookAtBoth looks at the sides that are asked for, side by side, and fixes what
// it may.
func (w *app) lookAtBoth(c *cli.Context, o order) ([]doctor.Finding, error) {
	var inside, issued []doctor.Finding
	var insideErr, issuedErr error
	var together sync.WaitGroup
	if o.workspace {
		together.Go(func() { inside, insideErr = w.lookInside(c) })
	}
	if o.issuing {
		issued, issuedErr = w.lookAtIssuing(c, o)
	}
	together.Wait()
	return append(inside, issued...), usererr.Join(insideErr, issuedErr)
}

func (w *app) lookInside(c *cli.Context) ([]doctor.Finding, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, usererr.Wrap("find the working directory", err, "go to one that exists")
	}
	return doctor.Run(c.Context, doctor.Options{
		Getenv: w.getenv, Environ: os.Environ(), Dir: dir, Online: c.Bool("online"), Proxies: c.Bool("gateway"), Limit: c.Duration("timeout"),
	}), nil
}

func (w *app) lookAtIssuing(c *cli.Context, o order) ([]doctor.Finding, error) {
	check, err := w.checkup(c, o.github)
	if err != nil {
		found := doctor.FromError(doctor.Failure, err, "write one of "+issuing.KnownStores)
		found.Group = "store"
		return []doctor.Finding{found}, nil
	}
	report := check.Look(c.Context)
	if !o.fix {
		return report.All(), nil
	}
	return w.fix(c, check, report)
}

// checkup is of the store of the command line.
func (w *app) checkup(c *cli.Context, github string) (*doctor.Checkup, error) {
	s, err := w.store(c)
	if err != nil {
		return nil, err
	}
	check := &doctor.Checkup{Store: s, StoreURL: w.storeURL(c), GitHub: github, Limit: c.Duration("timeout")}
	check.AWS, _ = s.(doctor.ParameterStore)
	rawURL, err := issuing.StoreURL(c.String("store"), w.getenv)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "file" {
		check.Folder = u.Path
	}
	return check, nil
}
