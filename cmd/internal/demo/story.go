package demo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A step is one thing that the demo shows.
type step struct {
	id      string
	caption string
	promise string // what is checked; empty if nothing is
	do      func(context.Context) error
}

func (d *demo) steps() []step {
	steps := []step{
		{
			"file", "A private GitHub and a workspace: the file says what it may reach, and what it may push", "",
			d.showFile,
		},
		{
			"install", "One command configures git", "gatepass install sets git up in one command",
			d.install,
		},
		{
			"clone", "A private repository: git asks, gatepass fetches a token, and no prompt appears",
			"git clones a private repository with one call to the source",
			d.clone,
		},
		{
			"fetch", "Another clone has pushed to main. The token is still in the agent's memory",
			"git fetch uses the token in memory: the source is not asked",
			d.fetch,
		},
		{
			"push", "A push to an allowed branch, with a token that may write",
			"git push to an allowed branch succeeds",
			d.push,
		},
		{
			"refuse", "A push to another branch is refused, with the reason and what is allowed",
			"git push to main is refused with the reason and the allowed refs; GitHub receives nothing",
			d.refuse,
		},
		{
			"owner", "Another owner's repository: a token of that owner's installation",
			"a second owner's repository comes with a token of its own installation",
			d.otherOwner,
		},
		{
			"outside", "A repository outside of this workspace: one line, and the source is not asked",
			"a repository outside of the workspace is refused before the source is asked",
			d.outside,
		},
		{
			"foreign", "Any other host gets no answer",
			"another host gets no answer, and the source is not asked",
			d.foreign,
		},
		d.staleStep(),
		{
			"issue", "The issuing side: a profile becomes a workspace, with a token for each owner",
			"gatepass workspace create delivers a token for each owner of the profile's repositories",
			d.issue,
		},
		{
			"destroy", "The workspace is destroyed, and its tokens with it",
			"gatepass workspace destroy revokes every token, and nothing of it is left in the store",
			d.destroy,
		},
	}
	return append(append(steps, d.gatewaySteps()...), step{
		"secrets", "What is on disk? Every file except the broker's own records is searched for every token",
		"no token is in a file of the workspace or in the output",
		d.noSecrets,
	})
}

// staleStep depends on git's version: since 2.46, git can ask a helper again within one
// command (the state capability of git-credential(1)).
func (d *demo) staleStep() step {
	if d.git.atLeast(2, 46) {
		return step{
			"stale", "GitHub revokes the token in memory: git fetch gets a fresh one and succeeds",
			"git fetch with a revoked token succeeds in the same command",
			d.stale,
		}
	}
	return step{
		"stale", "GitHub revokes the token in memory. git " + d.git.text + " fails once; 2.46 and later ask again at once",
		"after a revoked token the next git command succeeds (git 2.46 and later: the same one)",
		d.staleOnOldGit,
	}
}

func (d *demo) showFile(ctx context.Context) error {
	d.show.remark("a double of GitHub with TLS: https://" + d.github.host() + ", an App installed by acme and by globex")
	d.show.remark("~ is a scratch directory: your files are not read or changed")
	return d.run(ctx, "", "cat workspace.yaml").failed
}

func (d *demo) install(ctx context.Context) error {
	return d.run(ctx, "", "gatepass install --global").failed
}

func (d *demo) clone(ctx context.Context) error {
	r := d.run(ctx, "", "git clone "+d.github.url("acme/widgets"))
	d.count(r)
	return first(r.failed, r.fetched("acme/widgets"))
}

func (d *demo) fetch(ctx context.Context) error {
	if err := d.otherPush(ctx, "Add a feature"); err != nil {
		return err
	}
	d.show.command("cd widgets")
	r := d.run(ctx, "widgets", "git fetch")
	d.count(r)
	return first(r.failed, r.fetched(), d.upToDate(ctx))
}

func (d *demo) push(ctx context.Context) error {
	begun := d.run(ctx, "widgets", "git switch -q -c agent/fix-typo origin/main")
	committed := d.run(ctx, "widgets", "git commit -q --allow-empty -m 'Fix a typo'")
	r := d.run(ctx, "widgets", "git push origin agent/fix-typo")
	d.count(r)
	if err := first(begun.failed, committed.failed, r.failed); err != nil {
		return err
	}
	want, err := d.commitOf(ctx, "HEAD")
	if err != nil {
		return err
	}
	if got := d.refOf(ctx, "agent/fix-typo"); got != want {
		return fmt.Errorf("agent/fix-typo is at %q, want %q", got, want)
	}
	if len(r.grants) > 1 {
		return fmt.Errorf("%d tokens were fetched, want one", len(r.grants))
	}
	return nil
}

func (d *demo) refuse(ctx context.Context) error {
	before := d.refOf(ctx, "main")
	r := d.run(ctx, "widgets", "git push origin HEAD:main")
	d.count(r)
	for _, q := range r.requests {
		if strings.HasSuffix(q.Path, "/git-receive-pack") {
			return errors.New("git sent the push to GitHub")
		}
	}
	if d.refOf(ctx, "main") != before {
		return errors.New("main has moved")
	}
	return first(r.refused("refs/heads/main denied: no rule allows it", "allowed: agent/**"), r.fetched())
}

func (d *demo) otherOwner(ctx context.Context) error {
	r := d.run(ctx, "widgets", "git clone "+d.github.url("globex/gadgets")+" ../gadgets")
	d.count(r)
	if err := first(r.failed, r.fetched("globex/gadgets")); err != nil {
		return err
	}
	if got := r.grants[0].installation; got != d.github.globex.ID {
		return fmt.Errorf("the token is of installation %d, want the installation of globex, %d", got, d.github.globex.ID)
	}
	return nil
}

func (d *demo) outside(ctx context.Context) error {
	r := d.run(ctx, "widgets", "git clone "+d.github.url("acme/payroll")+" ../payroll")
	d.count(r)
	return first(r.refused("acme/payroll"), r.fetched())
}

func (d *demo) foreign(ctx context.Context) error {
	r := d.run(ctx, "widgets", `printf 'protocol=https\nhost=github.com.evil.example\n\n' | git-credential-gatepass get`)
	if err := r.failed; err != nil {
		return err
	}
	if r.output != "" {
		return errors.New("the helper printed something")
	}
	d.show.remark("nothing was printed")
	d.count(r)
	return r.fetched()
}

func (d *demo) stale(ctx context.Context) error {
	if err := d.revoke(ctx); err != nil {
		return err
	}
	r := d.run(ctx, "widgets", "git fetch")
	d.count(r)
	return first(r.failed, r.fetched("acme/widgets"), d.upToDate(ctx))
}

func (d *demo) staleOnOldGit(ctx context.Context) error {
	if err := d.revoke(ctx); err != nil {
		return err
	}
	once := d.run(ctx, "widgets", "git fetch")
	again := d.run(ctx, "widgets", "git fetch")
	d.count(again)
	if once.failed == nil {
		return errors.New("the first fetch succeeded with a revoked token")
	}
	return first(again.failed, again.fetched("acme/widgets"), d.upToDate(ctx))
}

// revoke revokes the tokens in the agent's memory and adds a commit to fetch.
func (d *demo) revoke(ctx context.Context) error {
	if err := d.source.revoke(ctx, "acme", "widgets"); err != nil {
		return err
	}
	return d.otherPush(ctx, "Add another feature")
}

// noSecrets searches the places where tokens must not be.
func (d *demo) noSecrets(ctx context.Context) error {
	texts := strings.Join(d.outputs, "\n")
	files := 0
	err := filepath.WalkDir(d.dir, func(path string, e fs.DirEntry, err error) error {
		if path == d.records() {
			return fs.SkipDir
		}
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		files++
		data, err := os.ReadFile(path)
		if err == nil && d.source.in(string(data)) {
			err = fmt.Errorf("a token is in %s", path)
		}
		return err
	})
	if err == nil && d.source.in(texts) {
		err = errors.New("a token was printed")
	}
	if err == nil {
		d.show.remark(fmt.Sprintf("%s, %s: none found", plural(len(d.source.all()), "token"), plural(files, "file")))
	}
	return err
}

// upToDate returns an error if the clone lacks GitHub's main.
func (d *demo) upToDate(ctx context.Context) error {
	got, err := d.commitOf(ctx, "origin/main")
	if want := d.refOf(ctx, "main"); err == nil && got != want {
		err = fmt.Errorf("the clone's main is at %s, want %s", got, want)
	}
	return err
}

// fetched returns an error unless the command fetched exactly one token for each of the
// repositories.
func (r result) fetched(repositories ...string) error {
	var got []string
	for _, g := range r.grants {
		got = append(got, g.repository)
	}
	if have, want := strings.Join(got, ", "), strings.Join(repositories, ", "); have != want {
		return fmt.Errorf("tokens were fetched for [%s], want [%s]", have, want)
	}
	return nil
}

// refused returns an error unless the command failed and printed all of texts.
func (r result) refused(texts ...string) error {
	if r.failed == nil {
		return errors.New("it was not refused")
	}
	for _, text := range texts {
		if !strings.Contains(r.output, text) {
			return fmt.Errorf("git did not print %q", text)
		}
	}
	return nil
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
