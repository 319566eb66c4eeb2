package doctor

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/workspace"
)

// gatherLedger lists the entries of workspaces, and reads all records.
func (c *Checkup) gatherLedger(ctx context.Context) ledgerFacts {
	f := ledgerFacts{unreadable: map[string]error{}, folders: map[string]*folder{}}
	var listErr error
	var listing sync.WaitGroup
	listing.Go(func() { listErr = c.list(ctx, f.folders) })
	for found, err := range workspace.Records(ctx, c.Store) {
		if err != nil {
			f.err = err
			break
		}
		if found.Err != nil {
			f.unreadable[found.ID] = found.Reason()
			continue
		}
		f.records = append(f.records, found.Record)
	}
	listing.Wait()
	f.err = cmp.Or(f.err, listErr)
	slices.SortFunc(f.records, func(a, b *workspace.Record) int { return cmp.Compare(a.ID, b.ID) })
	return f
}

func (c *Checkup) list(ctx context.Context, folders map[string]*folder) error {
	for name, err := range c.Store.List(ctx, store.Workspaces()) {
		if err != nil {
			return err
		}
		if id, ok := name.Workspace(); ok {
			if folders[id] == nil {
				folders[id] = new(folder)
			}
			folders[id].names = append(folders[id].names, name)
		}
	}
	return nil
}

// recheckFolders checks again the folders with a lock and those with forgotten tokens:
// during the listing, a workspace may have been created or destroyed.
func (c *Checkup) recheckFolders(ctx context.Context, l *ledgerFacts) {
	var ids []string
	for id, f := range l.folders {
		if f.isForgotten() || f.has(store.Name.IsLock) {
			ids = append(ids, id)
		}
	}
	parallel(ids, func(id string) {
		f := l.folders[id]
		f.names, f.err = c.names(ctx, id)
		if f.err == nil {
			f.lock, f.err = c.lockOf(ctx, id)
		}
		if f.err == nil && f.isForgotten() {
			f.err = c.date(ctx, f)
		}
	})
}

// names returns the current entries of a workspace.
func (c *Checkup) names(ctx context.Context, id string) ([]store.Name, error) {
	below, err := store.Workspace(id)
	if err != nil {
		return nil, err
	}
	var names []store.Name
	for name, err := range c.Store.List(ctx, below) {
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

func (c *Checkup) lockOf(ctx context.Context, id string) (lockState, error) {
	left, err := (&workspace.Issuer{Store: c.Store, Now: c.Now}).LockedFor(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return unlocked, nil
	case err != nil:
		return held, err
	case left > 0:
		return held, nil
	}
	return leftOver, nil
}

// date sets the time at which the latest token was written.
func (c *Checkup) date(ctx context.Context, f *folder) error {
	for _, name := range f.names {
		if !name.IsToken() && !name.IsSuperseded() {
			continue
		}
		entry, err := c.Store.Get(ctx, name)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if entry.Modified.After(f.written) {
			f.written = entry.Modified
		}
	}
	return nil
}

// maxLookUps is the largest number of repositories that GitHub is asked about.
const maxLookUps = 20

// askAboutPending asks GitHub whether the App can access the repositories that pending
// workspaces name. This needs no token.
func askAboutPending(ctx context.Context, f *facts) {
	f.ledger.unreached = map[string][]string{}
	if f.app.err != nil || f.app.refused != nil {
		return
	}
	var mu sync.Mutex // guards unreached
	parallel(f.lookUps(), func(l lookUp) {
		_, err := f.app.opened.InstallationFor(ctx, l.owner, l.name)
		if failure, ok := errors.AsType[*mint.Error](err); ok && failure.Kind == mint.NotInstalled {
			mu.Lock()
			defer mu.Unlock()
			f.ledger.unreached[l.workspace] = append(f.ledger.unreached[l.workspace], l.owner+"/"+l.name)
		}
	})
}

// A lookUp names one repository.
type lookUp struct{ workspace, owner, name string }

// lookUps returns the repositories that pending workspaces name and whose account has
// the App.
func (f *facts) lookUps() []lookUp {
	var all []lookUp
	for _, r := range f.pending() {
		lacking := lackingOwners(r)
		for _, p := range r.Repositories {
			owner, name, _ := strings.Cut(p.String(), "/")
			isExact := !p.Everything() && !strings.Contains(name, "*")
			if isExact && slices.Contains(lacking, p.Owner()) && f.installationOf(p.Owner()) != nil {
				all = append(all, lookUp{r.ID, owner, name})
			}
		}
	}
	return all[:min(len(all), maxLookUps)]
}

// installationOf returns the App's installation on an account, according to GitHub.
func (f *facts) installationOf(owner string) *mint.Installation {
	for i := range f.app.found {
		if strings.EqualFold(f.app.found[i].Account.Login, owner) {
			return &f.app.found[i]
		}
	}
	return nil
}

const (
	refresherFix = "check that gatepass-refresher runs, or run gatepass workspace refresh "
	hourMinute   = "15:04 MST"
)

func (f *facts) checkWorkspaces() []Finding {
	l := f.ledger
	if l.err != nil {
		return []Finding{f.trouble(Failure, "the ledger cannot be read completely", l.err, "check that the store can be reached")}
	}
	found := []Finding{{Level: OK, Text: f.countWorkspaces()}}
	for _, id := range slices.Sorted(maps.Keys(l.unreadable)) {
		found = append(found, f.trouble(Failure, "workspace "+id+" cannot be refreshed", l.unreadable[id], "check whether a newer gatepass wrote it; if not, run gatepass workspace destroy "+id))
	}
	found = append(found, f.checkExpiry()...)
	found = append(found, f.checkPending()...)
	found = append(found, f.checkFailing()...)
	return append(found, f.checkLost()...)
}

// countWorkspaces counts the workspaces by condition.
func (f *facts) countWorkspaces() string {
	if len(f.ledger.records) == 0 {
		return "the ledger has no workspaces"
	}
	counts := map[workspace.Condition]int{}
	for _, r := range f.ledger.records {
		counts[r.Condition(f.now)]++
	}
	var texts []string
	for _, c := range []workspace.Condition{workspace.Ready, workspace.Failing, workspace.Pending, workspace.Expired, workspace.Ending, workspace.NoAccess} {
		if counts[c] > 0 {
			texts = append(texts, strconv.Itoa(counts[c])+" "+string(c))
		}
	}
	return count(len(f.ledger.records), "workspace") + ": " + strings.Join(texts, ", ")
}

// checkExpiry finds tokens that should have been replaced by now.
func (f *facts) checkExpiry() []Finding {
	var over, late []string
	first := time.Time{}
	for _, r := range f.ledger.records {
		ends := r.Soonest()
		switch c := r.Condition(f.now); {
		case c == workspace.Expired:
			over = append(over, r.ID)
		case (c == workspace.Ready || c == workspace.Failing || c == workspace.Pending) && !ends.IsZero() && ends.Sub(f.now) < margin(r)/2:
			late = append(late, r.ID)
			if first.IsZero() || ends.Before(first) {
				first = ends
			}
		}
	}
	var found []Finding
	if len(over) > 0 {
		found = append(found, Finding{
			Level: Failure, Text: count(len(over), "workspace") + " had a token that expired: " + these(over), Fix: refresherFix + over[0],
		})
	}
	if len(late) > 0 {
		found = append(found, Finding{
			Level: Warning,
			Text: count(len(late), "workspace") + " should have a fresh token already, the first token expires in " + first.Sub(f.now).Round(time.Second).String() +
				": " + these(late),
			Fix: refresherFix + late[0],
		})
	}
	return found
}

// A reason is why workspaces have no token, and the fix.
type reason struct{ why, fix string }

// checkPending makes one finding for each reason.
func (f *facts) checkPending() []Finding {
	var reasons []reason
	ids := map[reason][]string{}
	for _, r := range f.pending() {
		why, mend := f.whyPending(r, lackingOwners(r))
		one := reason{why, mend}
		if ids[one] == nil {
			reasons = append(reasons, one)
		}
		ids[one] = append(ids[one], r.ID)
	}
	var found []Finding
	for _, one := range reasons {
		refresh := "gatepass workspace refresh " + ids[one][0]
		finding := Finding{Level: Failure, Text: count(len(ids[one]), "workspace") + " without a token: " + these(ids[one]), Fix: refresh + ", which says why"}
		if one.why != "" {
			finding.Text, finding.Fix = finding.Text+": "+one.why, one.fix+"; then "+refresh
		}
		found = append(found, finding)
	}
	return found
}

// checkFailing makes one finding for each reason of the latest failed runs.
func (f *facts) checkFailing() []Finding {
	ids := map[string][]string{}
	for _, r := range f.ledger.records {
		if r.Condition(f.now) == workspace.Failing {
			ids[r.LastError.Why] = append(ids[r.LastError.Why], r.ID)
		}
	}
	var found []Finding
	for _, why := range slices.Sorted(maps.Keys(ids)) {
		found = append(found, Finding{
			Level: Warning, Text: count(len(ids[why]), "workspace") + " could not be refreshed: " + these(ids[why]) + ": " + why,
			Fix: "gatepass workspace refresh " + ids[why][0],
		})
	}
	return found
}

// pending returns the workspaces that lack a token and on which no run works.
func (f *facts) pending() []*workspace.Record {
	var some []*workspace.Record
	for _, r := range f.ledger.records {
		folder := f.ledger.folders[r.ID]
		if r.Condition(f.now) == workspace.Pending && (folder == nil || folder.lock != held) {
			some = append(some, r)
		}
	}
	return some
}

// whyPending returns the first reason that the facts give, and its fix.
func (f *facts) whyPending(r *workspace.Record, owners []string) (why, mend string) {
	const above = "see above"
	switch {
	case f.app.err != nil:
		return "no App can be used", above
	case f.app.refused != nil && !isOutage(f.app.refused):
		return "the App's key does not work", above
	case f.app.refused != nil || f.app.foundErr != nil:
		return "", ""
	case len(owners) == 0: // "*"
		return "the store has no installation", "gatepass app discover"
	}
	for _, owner := range owners {
		i := f.installationOf(owner)
		switch {
		case i == nil:
			return "the App is not installed on " + owner, "install it: " + issuing.InstallURL(f.app.proof.App)
		case i.Suspended():
			return "the installation on " + owner + " is suspended", "ask its owner to unsuspend it: " + i.HTMLURL
		}
		if lacking := mint.Lacking(r.Permissions.Levels(), i.Permissions); len(lacking) > 0 {
			return owner + " has not granted " + mint.LevelsText(lacking), "ask its owner to approve it: " + i.HTMLURL
		}
	}
	if repositories := f.ledger.unreached[r.ID]; len(repositories) > 0 {
		return "the installation cannot reach " + these(slices.Sorted(slices.Values(repositories))), "add them to the installation, or correct the profile"
	}
	return "", ""
}

// checkLost reports lost tokens: they may be alive, but are stored nowhere.
func (f *facts) checkLost() []Finding {
	n, last := 0, time.Time{}
	for _, r := range f.ledger.records {
		for _, t := range r.Lost(f.now) {
			n++
			if t.ExpiresBy().After(last) {
				last = t.ExpiresBy()
			}
		}
	}
	if n == 0 {
		return nil
	}
	return []Finding{{
		Level: OK, Text: count(n, "token") + " that no workspace has may be valid; the last ends by " + last.UTC().Format(hourMinute),
	}}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}
