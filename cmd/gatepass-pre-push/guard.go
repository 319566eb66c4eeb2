package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/gatepass/gatepass/hooks"
	"github.com/gatepass/gatepass/internal/config"
	"github.com/gatepass/gatepass/internal/oneline"
)

// guard judges a push and then runs the repository's own hook.
func (c call) guard(ctx context.Context, hook hooks.Hook) int {
	url := hooks.RedactURL(c.args[1])
	push := "push to " + url + " denied"
	workspace, policy, err := c.policy()
	if err != nil {
		return refuse(hook.Stderr, err)
	}
	raw, updates, err := hooks.ReadUpdates(hook.Stdin)
	if err != nil {
		return refuse(hook.Stderr, oneline.Wrap(push, err, "push branches and tags by name"))
	}
	repository, denials, err := look(ctx, hooks.Guard{Policy: policy, Ancestry: hooks.GitAncestry}, updates)
	if err != nil {
		return refuse(hook.Stderr, oneline.Wrap(push, err, "check that git runs here: git status"))
	}
	if err := repository.Mirrors(c.args[0]); err != nil {
		code := refuse(hook.Stderr, oneline.Wrap(push, err, ""))
		c.tell(workspace, allUpdates(updates, err))
		return code
	}
	if len(denials) > 0 {
		fmt.Fprint(hook.Stderr, report(denials, url, workspace.Path))
		c.tell(workspace, deniedUpdates(denials))
		return 1
	}
	hook.Stdin = bytes.NewReader(raw)
	return c.chain(ctx, hook, repository)
}

// look asks git what it must about the repository and about the updates, at
// the same time: starting git is most of what a push has to wait for.
func look(ctx context.Context, g hooks.Guard, updates []hooks.RefUpdate) (r *hooks.Repository, denials []*hooks.DeniedError, err error) {
	var wg sync.WaitGroup
	wg.Go(func() { r, err = hooks.ReadRepository(ctx) })
	denials = g.Check(ctx, updates)
	wg.Wait()
	return r, denials, err
}

// policy reads the workspace file.
func (c call) policy() (*config.Workspace, *hooks.RefPolicy, error) {
	path, err := config.Path(c.getenv)
	if err != nil {
		return nil, nil, denied(err)
	}
	workspace, err := config.Load(path)
	if err != nil {
		return nil, nil, denied(err)
	}
	policy, err := hooks.CompileRefs(workspace.Refs)
	if err != nil {
		return nil, nil, denied(oneline.Wrap("read the workspace file "+path, fold(err), "correct the file"))
	}
	return workspace, policy, nil
}

// denied says what an unreadable policy means for the push.
func denied(err error) error { return fmt.Errorf("push denied without a policy: %w", err) }

// fold makes one line of joined errors.
func fold(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return oneline.Join(joined.Unwrap()...)
	}
	return err
}

// report is one line for every denial and one that says what to do.
func report(denials []*hooks.DeniedError, url, path string) string {
	var b strings.Builder
	for _, d := range denials {
		b.WriteString(oneline.Line(d))
	}
	b.WriteString(oneline.Line(fmt.Errorf("nothing was pushed to %s; push to an allowed ref, as in git push origin HEAD:BRANCH, or have the rules in %s changed", url, path)))
	return b.String()
}

// chain runs the repository's own hook, unless git does that by itself.
func (c call) chain(ctx context.Context, hook hooks.Hook, r *hooks.Repository) int {
	if c.configured {
		return 0
	}
	var err error
	if r == nil {
		if r, err = hooks.ReadRepository(ctx); err != nil {
			return refuse(hook.Stderr, oneline.Wrap("run the repository's "+hook.Event+" hook", err, "check that git runs here: git status"))
		}
	}
	code, err := hook.Chain(ctx, r)
	if err != nil {
		return refuse(hook.Stderr, oneline.Wrap("run the repository's "+hook.Event+" hook", err, ""))
	}
	return code
}

func refuse(stderr io.Writer, err error) int {
	fmt.Fprint(stderr, oneline.Line(err))
	return 1
}
