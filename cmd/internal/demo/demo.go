// Package demo shows gatepass's main job on one machine: a GitHub double with two
// owners, a workspace, and real git that clones, fetches and pushes through the real
// programs. It runs every command as printed, and checks the result.
//
// Everything stays in a scratch folder. The folder is also HOME and the runtime
// directory of all the programs that the demo starts, so that they neither read nor
// change the user's configuration.
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

// programs are the programs that must be in one folder for the demo.
var programs = []string{"gatepass", "gatepass-agent", "gatepass-pre-push", "git-credential-gatepass"}

// Options configure the demo.
type Options struct {
	BinDir string    // the folder that holds gatepass's programs, absolute
	Path   string    // where to find git and the programs it needs, like PATH
	Story  io.Writer // receives the story; nil discards it
	Colour bool      // the story goes to a terminal with colours
	Keep   bool      // do not remove the scratch folder

	// before is called before each step; tests use it to break things.
	before func(d *demo, id string)
}

// A Report is the result of the demo.
type Report struct {
	OK       bool    `json:"ok"` // every check passed
	Git      string  `json:"git"`
	Checks   []Check `json:"checks"`
	Commands int     `json:"git_commands"`
	Tokens   int     `json:"tokens_fetched"`
	Requests int     `json:"git_requests"`      // answered by GitHub
	Seconds  float64 `json:"seconds"`           // all in all
	Scratch  string  `json:"scratch,omitempty"` // the folder, if it was kept
}

// A Check is one promise, and whether it was kept.
type Check struct {
	Name    string `json:"name"`
	OK      bool   `json:"ok"`
	Problem string `json:"problem,omitempty"` // why it failed, in one line
}

// ErrBroken reports that a check failed; the Report says which.
var ErrBroken = errors.New("a check failed; see the list of checks")

// Run runs the demo and cleans up, even if ctx ends. The error is ErrBroken, or one
// line that tells a person what the demo needs.
func Run(ctx context.Context, o Options) (Report, error) {
	start := time.Now()
	if err := o.complete(); err != nil {
		return Report{}, err
	}
	d, err := newDemo(ctx, o)
	if err != nil {
		return Report{}, usererr.Wrap("set up the demo", interrupted(ctx, err), "")
	}
	d.runSteps(ctx, d.steps())
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

// complete checks the options, so that nothing is missing halfway. more are further
// programs that are needed.
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

// git finds git on the PATH of the demo's commands.
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

// interrupted returns a plain reason if ctx has ended, instead of the error that
// followed from it.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("it was interrupted")
	}
	return err
}

// ending describes what close will do.
func (d *demo) ending() string {
	if d.opts.Keep {
		return "the agent has stopped; the scratch directory is kept"
	}
	return "nothing is left: the agent has stopped, the scratch directory is deleted"
}

// runSteps runs the steps. If one fails, the others still run and show what works.
func (d *demo) runSteps(ctx context.Context, steps []step) {
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
