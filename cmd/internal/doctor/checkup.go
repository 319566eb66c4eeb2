package doctor

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/gatepass/gatepass/store"
)

// IssuingLimit is time for a ledger of hundreds of workspaces and a slow network.
const IssuingLimit = 15 * time.Second

// A Checkup is of one store. Store and StoreURL must be set.
type Checkup struct {
	Store    store.Store
	StoreURL string           // as it may be shown
	Folder   string           // of a store in files; "" for all others
	AWS      ParameterStore   // Store, where it is in AWS; nil for all others
	GitHub   string           // as people know it; "" means what the store says
	Client   *http.Client     // for GitHub; nil means one of our own
	Now      func() time.Time // nil means time.Now
	Limit    time.Duration    // of Look as a whole; zero means IssuingLimit
}

// A ParameterStore is a store in AWS Systems Manager Parameter Store.
type ParameterStore interface {
	// Parameter returns the name of the parameter that keeps an entry.
	Parameter(name store.Name) string
	// IsEncrypted reports whether AWS encrypts an entry. It returns an error that
	// wraps [store.ErrNotFound] where there is no such entry.
	IsEncrypted(ctx context.Context, name store.Name) (bool, error)
}

// The groups of the findings, in their order.
const (
	storeGroup         = "store"
	appGroup           = "App"
	installationsGroup = "installations"
	workspacesGroup    = "workspaces"
	debrisGroup        = "debris"
)

// A Report is what was found.
type Report struct {
	Findings []Finding
	Debris   []Thing
}

// All are the findings, and one for each thing that lies around.
func (r Report) All() []Finding {
	all := r.Findings
	for _, t := range r.Debris {
		all = append(all, t.finding())
	}
	return all
}

// Fixable are the things that Fix removes.
func (r Report) Fixable() []Thing {
	var some []Thing
	for _, t := range r.Debris {
		if t.Left == "" {
			some = append(some, t)
		}
	}
	return some
}

// Remaining is the report without what Fix was given.
func (r Report) Remaining() Report {
	var rest []Thing
	for _, t := range r.Debris {
		if t.Left != "" {
			rest = append(rest, t)
		}
	}
	return Report{r.Findings, rest}
}

// Look finds out how things are, and changes nothing.
func (c *Checkup) Look(ctx context.Context) Report {
	limit := c.Limit
	if limit == 0 {
		limit = IssuingLimit
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	f := c.gather(ctx)
	f.limit = limit
	return f.judge()
}

func (c *Checkup) now() time.Time {
	if c.Now == nil {
		return time.Now().UTC()
	}
	return c.Now().UTC()
}

// judge is a function of the facts only.
func (f *facts) judge() Report {
	var r Report
	add := func(group string, found []Finding) {
		for _, one := range found {
			one.Group = group
			r.Findings = append(r.Findings, one)
		}
	}
	add(storeGroup, f.judgeStore())
	if f.store.err != nil {
		return r // all else would be the same error once more
	}
	add(appGroup, f.judgeApp())
	add(appGroup, f.judgePool())
	if f.isEmpty() {
		return r
	}
	add(installationsGroup, f.judgeInstallations())
	add(workspacesGroup, f.judgeWorkspaces())
	add(debrisGroup, f.judgeSurroundings())
	r.Debris = f.debris()
	if f.ledger.err == nil && len(r.Debris) == 0 {
		add(debrisGroup, []Finding{{Level: OK, Text: "nothing is left of workspaces that are gone"}})
	}
	return r
}

// isEmpty reports whether nothing was ever set up in the store.
func (f *facts) isEmpty() bool {
	return errors.Is(f.app.err, store.ErrNotFound) && f.ledger.err == nil && len(f.ledger.folders) == 0
}

// trouble is a finding about what could not be found out. What took too long is
// never more than a warning.
func (f *facts) trouble(level Level, what string, err error, otherwise string) Finding {
	if errors.Is(err, context.DeadlineExceeded) {
		longer := (4 * f.limit).Round(time.Second)
		return Finding{Level: Warning, Text: what + ": no answer within " + f.limit.String(), Mend: "gatepass doctor --timeout " + longer.String()}
	}
	found := FromError(level, err, otherwise)
	found.Text = what + ": " + found.Text
	return found
}

// shown is how many of a kind a line names.
const shown = 3

// these names the first of several, and counts the others.
func these(names []string) string {
	if len(names) <= shown {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:shown], ", ") + " and " + count(len(names)-shown, "other")
}
