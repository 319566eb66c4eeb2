package doctor

import (
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/workspace"
)

// facts are what was found out. Nothing is decided in them.
type facts struct {
	now   time.Time
	limit time.Duration
	store storeFacts
	app   appFacts
	pool  []appFacts // the Apps beside the first one
	// poolErr is why they are not known.
	poolErr error
	ledger  ledgerFacts
}

type storeFacts struct {
	url        string
	isFiles    bool
	isShared   bool     // another system may keep tokens in it
	err        error    // it cannot be read at all
	exposed    []string // what others can read
	exposedErr error
}

type appFacts struct {
	name      string // in the pool; "" is the first
	err       error  // none can be had; wraps store.ErrNotFound where none is set up
	opened    *issuing.App
	github    string
	signerURL string // "" where the key is in the store
	proof     issuing.Proof
	refused   error // why GitHub was not asked more
	found     []mint.Installation
	foundErr  error
	stored    []issuing.Stored
	storedErr error
	clock     reading
	rate      mint.Rate
	hasRate   bool
}

// A reading is how far this machine's clock is ahead of GitHub's.
type reading struct {
	ahead time.Duration
	taken bool
}

type ledgerFacts struct {
	err        error // it was not read to its end, so that nothing counts as missing
	records    []*workspace.Record
	unreadable map[string]error
	folders    map[string]*folder
	unreached  map[string][]string // repositories of pending workspaces that the App does not reach
}

// A folder is all that the store has of a workspace.
type folder struct {
	names   []store.Name
	lock    lockState
	written time.Time // the latest of the tokens, where the ledger does not know them
	err     error     // it could not be looked at more closely
}

type lockState int

const (
	unlocked lockState = iota
	held               // a run works on the workspace
	leftOver           // a run that ended early left it
)

func (f *folder) has(is func(store.Name) bool) bool { return slices.ContainsFunc(f.names, is) }

func (f *folder) hasRecord() bool { return f.has(store.Name.IsRecord) }

// tokens counts what may be alive, each token once: the only token's entry is a
// copy where there is one of an owner.
func (f *folder) tokens() int {
	owned, only, kept := 0, 0, 0
	for _, n := range f.names {
		_, isOwned := n.Owner()
		switch {
		case n.IsSuperseded():
			kept++
		case n.IsToken() && isOwned:
			owned++
		case n.IsToken():
			only++
		}
	}
	return max(owned, only) + kept
}

// end is when the last of the tokens has run out for sure, where the ledger does not
// know them.
func (f *folder) end() time.Time { return f.written.Add(tokenLife) }

// isForeign reports a name that gatepass would not make in a workspace's folder.
func isForeign(n store.Name) bool {
	return !n.IsToken() && !n.IsSuperseded() && !n.IsVended() && !n.IsRecord() && !n.IsLock() && !n.IsKeyMark()
}

// isForgotten reports tokens of which the ledger knows nothing. What a broker has
// given is not in the ledger, and the broker looks after it.
func (f *folder) isForgotten() bool {
	return !f.hasRecord() && f.tokens() > 0 && !f.has(store.Name.IsVended)
}

// margin is how long a token of the workspace has to last to be left alone.
func margin(r *workspace.Record) time.Duration {
	if r.Margin != 0 {
		return r.Margin
	}
	return workspace.DefaultMargin
}

// needs are what the workspaces of the ledger need.
func (l *ledgerFacts) needs() issuing.Needs {
	var n issuing.Needs
	for _, r := range l.records {
		if !r.Destroying {
			n.Profiles = append(n.Profiles, &workspace.Profile{Name: r.Profile, Access: r.Access})
		}
	}
	return n
}

// lackingOwners are the accounts, in lower case, of which the workspace is to have
// a token and has none.
func lackingOwners(r *workspace.Record) []string {
	return slices.DeleteFunc(r.Owners(), func(owner string) bool {
		return slices.ContainsFunc(r.Tokens, func(t workspace.Token) bool {
			return t.State == workspace.Delivered && strings.EqualFold(t.Owner, owner)
		})
	})
}
