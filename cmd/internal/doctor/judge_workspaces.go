package doctor

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/workspace"
)

const (
	refresherMend = "is gatepass-refresher running? By hand: gatepass workspace refresh "
	hourMinute    = "15:04 MST"
)

func (f *facts) judgeWorkspaces() []Finding {
	l := f.ledger
	if l.err != nil {
		return []Finding{f.trouble(Failure, "the ledger cannot be read to its end", l.err, "see that the store can be reached")}
	}
	found := []Finding{{Level: OK, Text: f.census()}}
	for _, id := range slices.Sorted(maps.Keys(l.unreadable)) {
		found = append(found, f.trouble(Failure, "workspace "+id+" cannot be refreshed", l.unreadable[id], "see whether a newer gatepass wrote it; else gatepass workspace destroy "+id))
	}
	found = append(found, f.judgeEnds()...)
	found = append(found, f.judgePending()...)
	found = append(found, f.judgeFailing()...)
	return append(found, f.judgeLost()...)
}

// census counts the workspaces by condition.
func (f *facts) census() string {
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

// judgeEnds finds tokens that should have been replaced by now.
func (f *facts) judgeEnds() []Finding {
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
			Level: Failure, Text: count(len(over), "workspace") + " had a token run out: " + these(over), Mend: refresherMend + over[0],
		})
	}
	if len(late) > 0 {
		found = append(found, Finding{
			Level: Warning,
			Text: count(len(late), "workspace") + " should have a fresh token by now, the first ends in " + first.Sub(f.now).Round(time.Second).String() +
				": " + these(late),
			Mend: refresherMend + late[0],
		})
	}
	return found
}

// A reason is why workspaces have no token, and the fix.
type reason struct{ why, mend string }

// judgePending makes one finding for each reason.
func (f *facts) judgePending() []Finding {
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
		finding := Finding{Level: Failure, Text: count(len(ids[one]), "workspace") + " without a token: " + these(ids[one]), Mend: refresh + ", which says why"}
		if one.why != "" {
			finding.Text, finding.Mend = finding.Text+": "+one.why, one.mend+"; then "+refresh
		}
		found = append(found, finding)
	}
	return found
}

// judgeFailing makes one finding for each reason of the latest failed runs.
func (f *facts) judgeFailing() []Finding {
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
			Mend: "gatepass workspace refresh " + ids[why][0],
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
			return "the installation on " + owner + " is suspended", "have it unsuspended: " + i.HTMLURL
		}
		if lacking := mint.Lacking(r.Permissions.Levels(), i.Permissions); len(lacking) > 0 {
			return owner + " has not granted " + mint.LevelsText(lacking), "have it approved: " + i.HTMLURL
		}
	}
	if repositories := f.ledger.unreached[r.ID]; len(repositories) > 0 {
		return "the App does not reach " + these(slices.Sorted(slices.Values(repositories))), "add them to the installation, or correct the profile"
	}
	return "", ""
}

// judgeLost reports lost tokens: they may be alive, but are stored nowhere.
func (f *facts) judgeLost() []Finding {
	n, last := 0, time.Time{}
	for _, r := range f.ledger.records {
		for _, t := range r.Lost(f.now) {
			n++
			if t.DiesBy().After(last) {
				last = t.DiesBy()
			}
		}
	}
	if n == 0 {
		return nil
	}
	return []Finding{{
		Level: OK, Text: count(n, "token") + " may be alive that nobody has; the last ends by " + last.UTC().Format(hourMinute),
	}}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}
