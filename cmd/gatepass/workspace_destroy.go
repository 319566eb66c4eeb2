package main

import (
	"fmt"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/workspace"
	"github.com/urfave/cli/v2"
)

// destroyReport is the JSON of "workspace destroy".
type destroyReport struct {
	Workspace string        `json:"workspace"`
	Destroyed bool          `json:"destroyed"`
	Revoked   []string      `json:"revoked"` // hashes
	Lost      []tokenReport `json:"lost"`

	now time.Time
}

// newDestroyReport is of what i is about to do.
func newDestroyReport(id string, i *workspace.Issuer) *destroyReport {
	report := &destroyReport{Workspace: id, Revoked: []string{}, Lost: []tokenReport{}}
	i.Audit = func(e workspace.Event) {
		if e.Type == workspace.Ended {
			report.Revoked = append(report.Revoked, e.Hash)
		}
	}
	return report
}

func (w *app) workspaceDestroy(c *cli.Context) error {
	id, err := workspaceID(c)
	if err != nil {
		return err
	}
	i, _, err := w.issuer(c)
	if err != nil {
		return err
	}
	report := newDestroyReport(id, i)
	lost, problem := i.Destroy(c.Context, id)
	report.now = w.clock(i)
	return w.tellDestroyed(c, report, lost, problem)
}

func (w *app) tellDestroyed(c *cli.Context, report *destroyReport, lost []workspace.Token, problem error) error {
	for _, t := range lost {
		report.Lost = append(report.Lost, newTokenReport(t))
	}
	report.Destroyed = problem == nil
	if c.Bool("json") {
		return usererr.Join(problem, writeJSON(w.stdout, report))
	}
	return usererr.Join(problem, w.printDestroyed(report))
}

func (w *app) printDestroyed(r *destroyReport) error {
	for _, hash := range r.Revoked {
		fmt.Fprintf(w.stdout, "revoked %s\n", shortHash(hash))
	}
	for _, t := range r.Lost {
		fmt.Fprintf(w.stdout, "a token for %s may be alive, which nobody has; it ends %s at the latest\n", usererr.Escape(t.Owner), left(t.Ends, r.now))
	}
	if !r.Destroyed {
		return nil
	}
	_, err := fmt.Fprintf(w.stdout, "nothing is left of workspace %s\n", r.Workspace)
	return err
}

func (w *app) workspaceRefresh(c *cli.Context) error {
	id, err := workspaceID(c)
	if err != nil {
		return err
	}
	i, _, err := w.issuer(c)
	if err != nil {
		return err
	}
	if c.Bool("revoke") {
		i.Grace = -1
	}
	ending := newDestroyReport(id, i) // in case its destruction has begun
	did := 0
	tell := i.Audit
	i.Audit = func(e workspace.Event) { did++; tell(e) }
	r, problem := i.Refresh(c.Context, id, c.Bool("force"))
	if r == nil {
		return unknownWorkspace(c.Context, i, id, problem)
	}
	now := w.clock(i)
	if problem == nil && r.Destroying {
		ending.now = now
		return w.tellDestroyed(c, ending, r.Lost(now), nil)
	}
	problem = incomplete(r, now, problem)
	report := newWorkspaceReport(r, now, problem)
	report.NothingDue = did == 0 && problem == nil
	if c.Bool("json") {
		err = writeJSON(w.stdout, report)
	} else {
		err = printWorkspace(w.stdout, report)
	}
	return usererr.Join(problem, err)
}
