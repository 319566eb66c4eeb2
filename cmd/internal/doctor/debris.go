package doctor

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/workspace"
)

// Kind says what a Thing is.
type Kind string

// The kinds, in the order in which they are removed.
const (
	Tokens      Kind = "tokens"      // of which the ledger knows nothing
	Destruction Kind = "destruction" // that was begun and not finished
	Superseded  Kind = "superseded"  // tokens that should be revoked by now
	Lock        Kind = "lock"        // of a run that ended early
	Sched       Kind = "schedule"    // of another system, for a workspace that is gone
	OwnKey      Kind = "key"         // of a workspace that is gone
)

var kinds = []Kind{Tokens, Destruction, Superseded, Lock, Sched, OwnKey}

// A Thing lies around.
type Thing struct {
	Kind      Kind
	Workspace string
	What      string // it is
	Does      string // what Fix does: "revokes and deletes them"
	Left      string // why Fix leaves it; "" where it does not
	Mend      string // what else to do where it is left; "" for nothing

	key      Key
	schedule Schedule
}

// finding is about the thing before anything was done to it.
func (t Thing) finding() Finding {
	found := Finding{Group: debrisGroup, Level: Warning, Text: t.What, Mend: "gatepass doctor --fix, which " + t.Does}
	if t.Left != "" {
		found.Text, found.Mend = t.What+"; it is left: "+t.Left, t.Mend
	}
	if t.Left != "" && t.Mend == "" {
		found.Level = OK
	}
	return found
}

// Times for which something may look like debris that is just being made.
const (
	freshToken = 10 * time.Minute // by another system, which has yet to make its schedule
	freshTime  = time.Hour        // a schedule or key whose workspace is made right after it
)

// slack is how long after its grace a superseded token may wait for a refresher.
const slack = 10 * time.Minute

// tokenLife is how long GitHub's installation tokens live, with room for a clock
// that is off.
const tokenLife = time.Hour + 5*time.Minute

// debris is all that lies around. It is a function of the facts only.
func (f *facts) debris() []Thing {
	if f.ledger.err != nil {
		return nil // what was listed half-way says nothing about what is missing
	}
	all := slices.Concat(f.folderDebris(), f.recordDebris(), f.scheduleDebris(), f.keyDebris())
	slices.SortStableFunc(all, func(a, b Thing) int {
		return cmp.Or(cmp.Compare(slices.Index(kinds, a.Kind), slices.Index(kinds, b.Kind)), cmp.Compare(a.Workspace, b.Workspace))
	})
	return all
}

// folderDebris are forgotten tokens, and locks that nobody holds any more.
func (f *facts) folderDebris() []Thing {
	var all []Thing
	for id, folder := range f.ledger.folders {
		switch {
		case folder.err != nil || folder.lock == held:
		case folder.isForgotten() && f.servedBy(id) == "":
			all = append(all, f.forgotten(id, folder))
		case folder.lock == leftOver && !f.isEnding(id):
			all = append(all, Thing{Kind: Lock, Workspace: id, What: "a lock of " + id + ", whose run ended early", Does: "removes it"})
		}
	}
	return all
}

// servedBy names the schedule by which another system refreshes a workspace's
// token; "" where none does.
func (f *facts) servedBy(id string) string {
	for _, s := range f.cloud.schedules {
		if s.Workspace == id && s.IsEnabled {
			return s.Name
		}
	}
	return ""
}

func (f *facts) forgotten(id string, folder *folder) Thing {
	n, they, them := folder.tokens(), "which have", "them"
	if n == 1 {
		they, them = "which has", "it"
	}
	t := Thing{
		Kind: Tokens, Workspace: id, What: count(n, "token") + " of " + id + ", of which the ledger knows nothing, " + they + " run out",
		Does: "revokes and deletes " + them,
	}
	if dies := folder.written.Add(tokenLife); dies.After(f.now) {
		t.What = count(n, "token") + " of " + id + ", of which the ledger knows nothing, alive until " + dies.UTC().Format(hourMinute) + " at the latest"
	}
	switch {
	case folder.has(isForeign):
		t.Left = "there is more below sandbox/" + id + " that is not gatepass's"
		t.Mend = "look at it; gatepass workspace destroy " + id + " removes all of it"
	case f.cloud.schedulesErr != nil:
		t.Left = "whether another system refreshes it is not known"
	case f.cloud.isThere && f.now.Sub(folder.written) < freshToken:
		t.Left = "it was written a moment ago, perhaps for a sandbox that is just being made"
	}
	return t
}

func (f *facts) isEnding(id string) bool {
	return slices.ContainsFunc(f.ledger.records, func(r *workspace.Record) bool { return r.ID == id && r.Destroying })
}

// recordDebris is what the ledger itself says is to be ended.
func (f *facts) recordDebris() []Thing {
	var all []Thing
	for _, r := range f.ledger.records {
		folder := f.ledger.folders[r.ID]
		if folder == nil || folder.err != nil || folder.lock == held {
			continue // just made, destroyed or worked on
		}
		n := f.overdue(r)
		switch {
		case r.Destroying:
			all = append(all, Thing{Kind: Destruction, Workspace: r.ID, What: "the destruction of " + r.ID + " was begun and not finished", Does: "finishes it"})
		case n == 1:
			all = append(all, Thing{Kind: Superseded, Workspace: r.ID, What: "1 replaced token of " + r.ID + " should be revoked by now", Does: "revokes it"})
		case n > 1:
			all = append(all, Thing{Kind: Superseded, Workspace: r.ID, What: count(n, "replaced token") + " of " + r.ID + " should be revoked by now", Does: "revokes them"})
		}
	}
	return all
}

// overdue counts tokens whose grace is long over.
func (f *facts) overdue(r *workspace.Record) int {
	n := 0
	for _, t := range r.Tokens {
		if t.State == workspace.Superseded && f.now.Sub(t.Changed) > workspace.DefaultGrace+slack {
			n++
		}
	}
	return n
}

func (f *facts) scheduleDebris() []Thing {
	var all []Thing
	for _, s := range f.cloud.schedules {
		if !f.isGone(s.Workspace) {
			continue
		}
		t := Thing{
			Kind: Sched, Workspace: s.Workspace, schedule: s,
			What: "the schedule " + s.Group + "/" + s.Name + " of another system, for " + s.Workspace + ", which is gone", Does: "deletes it",
		}
		if f.now.Sub(s.Changed) < freshTime {
			t.Left = "it was changed less than an hour ago"
		}
		all = append(all, t)
	}
	return all
}

func (f *facts) keyDebris() []Thing {
	var all []Thing
	for k, v := range f.cloud.verdicts {
		if v.Foreign || !f.isGone(k.Workspace) {
			continue
		}
		all = append(all, Thing{
			Kind: OwnKey, Workspace: k.Workspace, key: k, Left: v.Left,
			What: "the KMS key " + k.Name + ", of " + k.Workspace + ", which is gone", Does: "removes the alias, and has the key deleted in 30 days",
		})
	}
	return all
}

// judgeSurroundings is about what is beside the workspaces and no debris, or could
// not be looked at.
func (f *facts) judgeSurroundings() []Finding {
	var found []Finding
	if f.cloud.schedulesErr != nil {
		found = append(found, f.trouble(Warning, "schedules of another system were not looked at", f.cloud.schedulesErr, "see the reason"))
	}
	if f.cloud.keysErr != nil {
		found = append(found, f.trouble(Warning, "not all keys of workspaces were looked at", f.cloud.keysErr, "see the reason"))
	}
	for _, id := range slices.Sorted(maps.Keys(f.ledger.folders)) {
		if err := f.ledger.folders[id].err; err != nil {
			found = append(found, f.trouble(Warning, "what is left of "+id+" was not looked at", err, "run gatepass doctor again"))
		}
	}
	return append(found, f.judgeOthers()...)
}

// judgeOthers tells of workspaces that another system refreshes.
func (f *facts) judgeOthers() []Finding {
	var theirs []string
	var found []Finding
	for _, s := range f.cloud.schedules {
		folder := f.ledger.folders[s.Workspace]
		switch {
		case folder == nil || !s.IsEnabled:
		case folder.has(store.Name.IsRecord):
			found = append(found, Finding{
				Level: Warning, Text: "workspace " + s.Workspace + " is in the ledger, and the schedule " + s.Group + "/" + s.Name + " of another system writes its token too",
				Mend: "aws scheduler delete-schedule --group-name " + s.Group + " --name " + s.Name,
			})
		default:
			theirs = append(theirs, s.Workspace)
		}
	}
	if len(theirs) > 0 {
		slices.Sort(theirs)
		found = append(found, Finding{Level: OK, Text: "another system refreshes the tokens of " + these(theirs)})
	}
	return found
}
