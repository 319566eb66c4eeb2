package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/hooks"
	"github.com/gatepass/gatepass/hooks/refs"
	"github.com/gatepass/gatepass/internal/usererr"
)

// guard checks a push against the policy and then runs the repository's own hook. It
// does not check a push to a path on this machine.
func (c call) guard(ctx context.Context, hook hooks.Hook) int {
	read := begin(ctx)
	target := hooks.TargetOf(c.args[1])
	if target.Path {
		r, err := read()
		if err == nil && !r.ThroughProgram(c.args[0]) {
			return c.chain(ctx, hook, r)
		}
		target = hooks.Target{}
	}
	v := c.decide(ctx, hook.Stdin, target)
	if v.input != nil {
		hook.Stdin = bytes.NewReader(v.input)
	}
	r, err := read()
	switch {
	case err == nil && c.shim && r.RunsConfigured(ctx):
		return c.chain(ctx, hook, r)
	case v.err != nil:
	case err != nil:
		v.err = usererr.Wrap(c.denied(), err, "check that git runs here: git status")
	case v.passed:
		return c.chain(ctx, hook, r)
	default:
		if err := r.Mirrors(c.args[0]); err != nil {
			v.err = usererr.Wrap(c.denied(), err, "")
		}
	}
	if v.err != nil || len(v.denials) > 0 {
		return c.refuse(hook.Stderr, v)
	}
	return c.chain(ctx, hook, r)
}

// A verdict is the decision of the workspace file on a push.
type verdict struct {
	workspace *config.Workspace // nil when it cannot be read
	passed    bool              // the workspace file does not restrict pushes to this host
	input     []byte            // what was read of git's input so far
	updates   []refs.RefUpdate
	denials   []*refs.DeniedError
	err       error // why the push is refused as a whole
}

func (c call) decide(ctx context.Context, stdin io.Reader, target hooks.Target) (v verdict) {
	var policy *refs.Policy
	if v.workspace, policy, v.err = c.policy(); v.err != nil {
		return v
	}
	if !isListed(target, v.workspace) && v.workspace.Gateway.IsZero() {
		v.workspace = throughInstalled(ctx, v.workspace)
	}
	listed, allowed := isListed(target, v.workspace), v.workspace.Elsewhere == config.ElsewhereAllow
	if !listed && allowed && target.Host != "" {
		v.passed = true
		return v
	}
	var err error
	if v.input, v.updates, err = refs.ReadUpdates(stdin); err != nil {
		v.err = usererr.Wrap(c.denied(), err, "push branches and tags by name")
		return v
	}
	if !listed && !allowed && len(v.updates) > 0 {
		v.err = c.elsewhere(target.Host, v.workspace.Path)
		return v
	}
	v.denials = refs.Guard{Policy: policy, Ancestry: hooks.GitAncestry}.Check(ctx, v.updates)
	return v
}

// isListed reports whether a push goes to one of the hosts, by itself or through the gateway.
func isListed(target hooks.Target, w *config.Workspace) bool {
	return target.In(w.Hosts) || !w.Gateway.IsZero() && target.In([]string{w.Gateway.Host()})
}

// throughInstalled returns w with the gateway that gatepass install configured in git,
// if any.
func throughInstalled(ctx context.Context, w *config.Workspace) *config.Workspace {
	g, err := config.ParseGateway(hooks.InstalledGateway(ctx))
	if err != nil {
		return w
	}
	through, err := w.Through(g)
	if err != nil {
		return w
	}
	return through
}

// elsewhere returns the error of a push to a host that the workspace file does not
// list.
func (c call) elsewhere(host, path string) error {
	if host == "" {
		return usererr.New(c.denied(), "its destination is unknown, and elsewhere is deny",
			"push to a URL of one of the hosts, or set elsewhere: allow in "+path)
	}
	return usererr.New(c.denied(), host+" is not one of the hosts, and elsewhere is deny",
		"add it to hosts, or set elsewhere: allow, in "+path)
}

func (c call) denied() string { return "push to " + hooks.RedactURL(c.args[1]) + " denied" }

// refuse reports the refusal to the user, and then to the broker's operators.
func (c call) refuse(stderr io.Writer, v verdict) int {
	if v.err != nil {
		code := refuse(stderr, v.err)
		c.reportRefused(v.workspace, allUpdates(v.updates, why(v.err)))
		return code
	}
	fmt.Fprint(stderr, report(v.denials, hooks.RedactURL(c.args[1]), v.workspace.Path))
	c.reportRefused(v.workspace, deniedUpdates(v.denials))
	return 1
}

// begin asks git about the repository in the background. The function that it returns
// waits for the answer. Starting git is most of the time that a push waits.
func begin(ctx context.Context) func() (*hooks.Repository, error) {
	var r *hooks.Repository
	var err error
	var wg sync.WaitGroup
	wg.Go(func() { r, err = hooks.ReadRepository(ctx) })
	return func() (*hooks.Repository, error) { wg.Wait(); return r, err }
}

// policy reads the workspace file.
func (c call) policy() (*config.Workspace, *refs.Policy, error) {
	path, err := config.Path(c.getenv)
	if err != nil {
		return nil, nil, denied(err)
	}
	workspace, err := config.Load(path)
	if err != nil {
		return nil, nil, denied(err)
	}
	policy, err := refs.Compile(workspace.Refs)
	if err != nil {
		return nil, nil, denied(usererr.Wrap("read the workspace file "+path, fold(err), "correct the file"))
	}
	return workspace, policy, nil
}

// denied wraps the error of a policy that cannot be read: the push is denied.
func denied(err error) error { return fmt.Errorf("push denied without a policy: %w", err) }

// fold joins several errors into one line.
func fold(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return usererr.Join(joined.Unwrap()...)
	}
	return err
}

// report returns one line for each denial and one that says what to do.
func report(denials []*refs.DeniedError, url, path string) string {
	var b strings.Builder
	for _, d := range denials {
		b.WriteString(usererr.Line(d))
	}
	b.WriteString(usererr.Line(fmt.Errorf("nothing was pushed to %s; push to an allowed ref, such as git push origin HEAD:BRANCH, or ask for a change of the rules in %s", url, path)))
	return b.String()
}

// chain runs the repository's own hook, unless git itself runs it.
func (c call) chain(ctx context.Context, hook hooks.Hook, r *hooks.Repository) int {
	if c.configured {
		return 0
	}
	var err error
	if r == nil {
		if r, err = hooks.ReadRepository(ctx); err != nil {
			return refuse(hook.Stderr, usererr.Wrap("run the repository's "+hook.Event+" hook", err, "check that git runs here: git status"))
		}
	}
	code, err := hook.Chain(ctx, r)
	if err != nil {
		return refuse(hook.Stderr, usererr.Wrap("run the repository's "+hook.Event+" hook", err, ""))
	}
	return code
}

// why returns the reason of an error without the operation, which the report words
// differently.
func why(err error) string {
	if line, ok := errors.AsType[*usererr.Error](err); ok {
		return line.ReasonText()
	}
	return err.Error()
}

func refuse(stderr io.Writer, err error) int {
	fmt.Fprint(stderr, usererr.Line(err))
	return 1
}

// runOwn runs the repository's own hook when the program was called by a link in the
// directory of shims.
func runOwn(args []string, stderr io.Writer) int {
	event := filepath.Base(args[0])
	guard, err := os.Executable()
	if err == nil {
		err = hooks.Shim{Guard: guard, Event: event}.Become(args)
	}
	if err != nil {
		return refuse(stderr, usererr.Wrap("run the repository's "+event+" hook", err, ""))
	}
	return 0
}
