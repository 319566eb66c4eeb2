package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/workspace"
)

// Kind says what a Thing is.
type Kind string

// The kinds, in the order of removal.
const (
	Tokens      Kind = "tokens"      // that the ledger does not know
	Destruction Kind = "destruction" // begun and not finished
	Superseded  Kind = "superseded"  // tokens that should have been revoked
	Lock        Kind = "lock"        // left by a run that ended early
)

var kinds = []Kind{Tokens, Destruction, Superseded, Lock}

// A Leftover is left over from a workspace or a run.
type Leftover struct {
	Kind      Kind
	Workspace string
	What      string // it is
	Does      string // what Fix would do: "revokes and deletes them"
	Left      string // why Fix leaves it; "" if Fix removes it
	Fix       string // what else to do if Fix leaves it

	written time.Time // when the latest of the Tokens was written
}

// finding describes the thing before Fix.
func (t Leftover) finding() Finding {
	found := Finding{Group: leftoversGroup, Level: Warning, Text: t.What, Fix: "gatepass doctor --fix, which " + t.Does}
	if t.Left != "" {
		found.Text, found.Fix = t.What+"; it is kept: "+t.Left, t.Fix
	}
	return found
}

// slack is how long after its grace period a superseded token may wait for a refresher.
const slack = 10 * time.Minute

// tokenLife is the lifetime of GitHub's installation tokens, with a margin for a clock
// that is off.
const tokenLife = time.Hour + 5*time.Minute

// leftovers returns everything left over. It depends on the facts alone.
func (f *facts) leftovers() []Leftover {
	if f.ledger.err != nil {
		return nil // an incomplete list does not show what is missing
	}
	all := slices.Concat(f.folderLeftovers(), f.recordLeftovers())
	slices.SortStableFunc(all, func(a, b Leftover) int {
		return cmp.Or(cmp.Compare(slices.Index(kinds, a.Kind), slices.Index(kinds, b.Kind)), cmp.Compare(a.Workspace, b.Workspace))
	})
	return all
}

// folderLeftovers returns forgotten tokens, and locks that no run holds.
func (f *facts) folderLeftovers() []Leftover {
	var all []Leftover
	for id, folder := range f.ledger.folders {
		switch {
		case folder.err != nil || folder.lock == held:
		case folder.isForgotten() && f.mayBeOthers(folder):
		case folder.isForgotten():
			all = append(all, f.forgotten(id, folder))
		case folder.lock == leftOver && !f.isEnding(id):
			all = append(all, Leftover{Kind: Lock, Workspace: id, What: "a lock of " + id + ", whose run ended early", Does: "removes it"})
		}
	}
	return all
}

// mayBeOthers reports whether forgotten tokens may be in use by another system: they
// are alive, and the store is one where that system keeps its tokens.
func (f *facts) mayBeOthers(folder *folder) bool {
	return f.store.isShared && folder.end().After(f.now)
}

func (f *facts) forgotten(id string, folder *folder) Leftover {
	n, they, them := folder.tokens(), "which have", "them"
	if n == 1 {
		they, them = "which has", "it"
	}
	t := Leftover{
		Kind: Tokens, Workspace: id, What: count(n, "token") + " of " + id + " that the ledger does not have, " + they + " expired",
		Does: "revokes and deletes " + them, written: folder.written,
	}
	if dies := folder.end(); dies.After(f.now) {
		t.What = count(n, "token") + " of " + id + " that the ledger does not have, valid until " + dies.UTC().Format(hourMinute) + " at the latest"
	}
	if folder.has(isForeign) {
		t.Left = "below sandbox/" + id + " are other entries that gatepass did not write"
		t.Fix = "check them; gatepass workspace destroy " + id + " removes all of them"
	}
	return t
}

func (f *facts) isEnding(id string) bool {
	return slices.ContainsFunc(f.ledger.records, func(r *workspace.Record) bool { return r.ID == id && r.Destroying })
}

// recordLeftovers returns what the ledger marks to be ended.
func (f *facts) recordLeftovers() []Leftover {
	var all []Leftover
	for _, r := range f.ledger.records {
		folder := f.ledger.folders[r.ID]
		if folder == nil || folder.err != nil || folder.lock == held {
			continue // just created, destroyed or held by a run
		}
		n := f.overdue(r)
		switch {
		case r.Destroying:
			all = append(all, Leftover{Kind: Destruction, Workspace: r.ID, What: "destroy of " + r.ID + " was interrupted", Does: "finishes it"})
		case n == 1:
			all = append(all, Leftover{Kind: Superseded, Workspace: r.ID, What: "1 replaced token of " + r.ID + " should be revoked by now", Does: "revokes it"})
		case n > 1:
			all = append(all, Leftover{Kind: Superseded, Workspace: r.ID, What: count(n, "replaced token") + " of " + r.ID + " should be revoked by now", Does: "revokes them"})
		}
	}
	return all
}

// overdue counts live tokens whose grace period is long over. The entry of an expired
// token waits for the next new token.
func (f *facts) overdue(r *workspace.Record) int {
	n := 0
	for _, t := range r.Tokens {
		if t.State == workspace.Superseded && f.now.Sub(t.Changed) > workspace.DefaultGrace+slack && t.Expires.After(f.now) {
			n++
		}
	}
	return n
}

// checkSurroundings reports what could not be checked, and what belongs to another
// system.
func (f *facts) checkSurroundings() []Finding {
	var found []Finding
	var others []string
	for _, id := range slices.Sorted(maps.Keys(f.ledger.folders)) {
		folder := f.ledger.folders[id]
		switch {
		case folder.err != nil:
			found = append(found, f.trouble(Warning, "the remains of "+id+" were not checked", folder.err, "run gatepass doctor again"))
		case folder.isForgotten() && f.mayBeOthers(folder):
			others = append(others, id)
		}
	}
	if len(others) > 0 {
		found = append(found, Finding{Level: OK, Text: "another system may refresh the tokens of " + these(others) + ", which are not in the ledger"})
	}
	return found
}

// Fix removes things that Look found, and reports for each what was done. It first
// checks each thing again; things of a workspace only while no other run works on that
// workspace.
func (c *Checkup) Fix(ctx context.Context, things []Leftover) []Finding {
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
	i.NotReady = errors.New("gatepass doctor does not mint tokens")
	return i, nil
}

func outcome(t Leftover, done string, err error) Finding {
	found := Finding{Level: OK, Text: t.What + ": " + done}
	switch {
	case errors.Is(err, workspace.ErrBusy) || errors.Is(err, workspace.ErrInUse) || errors.Is(err, errAlive):
		found = FromError(Warning, err, "run gatepass doctor again")
		found.Text = t.What + ", is kept: " + found.Text
	case err != nil:
		found = FromError(Failure, err, "run gatepass doctor --fix again")
		found.Text = t.What + ": " + found.Text
	}
	found.Group = leftoversGroup
	return found
}

// errAlive reports that something was added to a workspace since Look.
var errAlive = errors.New("the workspace exists now")

func (c *Checkup) fix(ctx context.Context, i *workspace.Issuer, t Leftover) (done string, err error) {
	switch t.Kind {
	case Tokens:
		if err := c.checkForgotten(ctx, t); err != nil {
			return "", err
		}
		return end(ctx, i, t.Workspace)
	case Destruction:
		return end(ctx, i, t.Workspace)
	case Superseded:
		return counting(i, func() error { return i.RevokeSuperseded(ctx, t.Workspace) })
	case Lock:
		return "removed", i.Unlock(ctx, t.Workspace)
	}
	return "", fmt.Errorf("unknown kind %q", t.Kind)
}

// checkForgotten returns an error if something was added to a workspace's folder since
// Look, or a token in it was written again.
func (c *Checkup) checkForgotten(ctx context.Context, t Leftover) error {
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
		tokens, err := i.FinishDestroy(ctx, id)
		lost = len(tokens)
		return err
	})
	done += ", nothing is left of it in the store"
	if lost > 0 {
		done += "; " + count(lost, "token") + " that no workspace has may be valid"
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
