// Package demo tells gatepass's main job on one machine: a GitHub double with
// two owners, a workspace, and real git that clones, fetches and pushes through
// the real programs. Every command it shows is run as it is shown, and what
// came of it is checked.
//
// It stays in a scratch folder, which is also HOME and the runtime directory of
// all it starts, so that the configuration of whoever runs it is neither read
// nor changed.
package demo

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
)

// programs have to be in one folder for the demo.
var programs = []string{"gatepass", "gatepass-agent", "gatepass-pre-push", "git-credential-gatepass"}

// Options say how to run the demo.
type Options struct {
	BinDir string    // the folder that holds gatepass's programs, absolute
	Path   string    // where git and what it needs are looked for, as in PATH
	Story  io.Writer // gets the story; nil tells nothing
	Colour bool      // the story is for a terminal with colours
	Keep   bool      // the scratch folder stays

	// before is called ahead of each step; tests break things there.
	before func(d *demo, id string)
}

// A Report says what the demo found.
type Report struct {
	OK       bool    `json:"ok"` // every check holds
	Git      string  `json:"git"`
	Checks   []Check `json:"checks"`
	Commands int     `json:"git_commands"`
	Tokens   int     `json:"tokens_fetched"`
	Requests int     `json:"git_requests"`      // that GitHub answered
	Seconds  float64 `json:"seconds"`           // all in all
	Scratch  string  `json:"scratch,omitempty"` // the folder, where it was kept
}

// A Check is one promise, and whether it held.
type Check struct {
	Name    string `json:"name"`
	OK      bool   `json:"ok"`
	Problem string `json:"problem,omitempty"` // why not, in one line
}

// ErrBroken reports that a check did not hold; the Report says which.
var ErrBroken = errors.New("not everything holds; see the checks")

// Run tells the story and cleans up, also when ctx ends. The error is ErrBroken
// or one line for a person about what the demo lacks.
func Run(ctx context.Context, o Options) (Report, error) {
	start := time.Now()
	if err := o.complete(); err != nil {
		return Report{}, err
	}
	d, err := newDemo(ctx, o)
	if err != nil {
		return Report{}, usererr.Wrap("set up the demo", interrupted(ctx, err), "")
	}
	d.tell(ctx, d.steps())
	stopped, left := ctx.Err(), d.close()
	if stopped != nil {
		return Report{}, usererr.Wrap("run the demo", errors.Join(errors.New("it was interrupted"), left), "")
	}
	d.check(d.ending(), left)
	d.report.Seconds = time.Since(start).Round(time.Millisecond).Seconds()
	d.sum()
	if !d.report.OK {
		return d.report, usererr.Wrap("run the demo", ErrBroken, "")
	}
	return d.report, nil
}

// complete refuses what would fail halfway. more are programs that are needed as well.
func (o *Options) complete(more ...string) error {
	if o.Story == nil {
		o.Story = io.Discard
	}
	for _, name := range append(slices.Clone(programs), more...) {
		if info, err := os.Stat(filepath.Join(o.BinDir, name)); err != nil || info.Mode()&0o111 == 0 {
			return usererr.New("run the demo", name+" is not in "+o.BinDir, "build all programs: make build")
		}
	}
	if _, err := o.git(); err != nil {
		return usererr.New("run the demo", "git is not on PATH", "install git")
	}
	return nil
}

// git finds git on the PATH that the demo's commands will have.
func (o *Options) git() (string, error) {
	for _, dir := range filepath.SplitList(o.Path) {
		if !filepath.IsAbs(dir) {
			continue
		}
		if path, err := exec.LookPath(filepath.Join(dir, "git")); err == nil {
			return path, nil
		}
	}
	return "", exec.ErrNotFound
}

// interrupted prefers the plain reason to what it led to.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("it was interrupted")
	}
	return err
}

// ending is what close promises.
func (d *demo) ending() string {
	if d.opts.Keep {
		return "the agent has ended; the scratch folder is kept"
	}
	return "nothing is left: the agent has ended, the scratch folder is gone"
}

// tell goes through the steps. One that fails does not end the story: the
// others say what still works.
func (d *demo) tell(ctx context.Context, steps []step) {
	for i, s := range steps {
		if ctx.Err() != nil {
			return
		}
		if d.opts.before != nil {
			d.opts.before(d, s.id)
		}
		d.show.heading(i+1, s.caption)
		err := s.do(ctx)
		if s.promise != "" {
			d.check(s.promise, err)
		}
	}
}

func (d *demo) check(name string, err error) {
	c := Check{Name: name, OK: err == nil}
	if err != nil {
		c.Problem = usererr.Escape(err.Error())
	}
	d.report.Checks = append(d.report.Checks, c)
}

func (d *demo) sum() {
	d.report.OK = true
	for _, c := range d.report.Checks {
		d.report.OK = d.report.OK && c.OK
	}
	d.report.Tokens = len(d.source.all())
	d.show.sum(d.report)
}
