package doctor

import (
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/workspace"
	"github.com/gatepass/gatepass/workspace/profile"
)

// facts are the data that were gathered. They hold no decisions.
type facts struct {
	now   time.Time
	limit time.Duration
	store storeFacts
	app   appFacts
	pool  []appFacts // the other Apps of the pool
	// poolErr is why pool is not known.
	poolErr error
	ledger  ledgerFacts
}

type storeFacts struct {
	url        string
	isFiles    bool
	isShared   bool     // another system may keep tokens in it too
	err        error    // it cannot be read at all
	exposed    []string // what other users can read
	exposedErr error
}

type appFacts struct {
	name      string // in the pool; "" is the first App
	err       error  // the App could not be loaded; wraps store.ErrNotFound if none is set up
	opened    *issuing.App
	github    string
	signerURL string // "" if the key is in the store
	proof     issuing.Proof
	refused   error // the error of the proof, after which GitHub was not asked more
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
	err        error // the list is incomplete, so nothing counts as missing
	records    []*workspace.Record
	unreadable map[string]error
	folders    map[string]*folder
	unreached  map[string][]string // repositories of pending workspaces that the App does not reach
}

// A folder lists everything that the store has of a workspace.
type folder struct {
	names   []store.Name
	lock    lockState
	written time.Time // when the latest token was written, if the ledger does not know the tokens
	err     error     // why it could not be checked more closely
}

type lockState int

const (
	unlocked lockState = iota
	held               // a run works on the workspace
	leftOver           // a run that ended early left it
)

func (f *folder) has(is func(store.Name) bool) bool { return slices.ContainsFunc(f.names, is) }

func (f *folder) hasRecord() bool { return f.has(store.Name.IsRecord) }

// tokens counts the tokens that may be alive, each once: the only token's entry is a
// copy if an owner has one too.
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

// end is when the last of the tokens that the ledger does not know has surely expired.
func (f *folder) end() time.Time { return f.written.Add(tokenLife) }

// isForeign reports whether gatepass never makes such a name in a workspace's folder.
func isForeign(n store.Name) bool {
	return !n.IsToken() && !n.IsSuperseded() && !n.IsVended() && !n.IsRecord() && !n.IsLock() && !n.IsKeyMark()
}

// isForgotten reports whether the folder has tokens that the ledger does not know.
// Tokens that a broker gave are not in the ledger; the broker looks after them.
func (f *folder) isForgotten() bool {
	return !f.hasRecord() && f.tokens() > 0 && !f.has(store.Name.IsVended)
}

// margin is the remaining lifetime below which a token of the workspace is replaced.
func margin(r *workspace.Record) time.Duration {
	if r.Margin != 0 {
		return r.Margin
	}
	return workspace.DefaultMargin
}

// needs returns what the workspaces of the ledger need.
func (l *ledgerFacts) needs() issuing.Needs {
	var n issuing.Needs
	for _, r := range l.records {
		if !r.Destroying {
			n.Profiles = append(n.Profiles, &profile.Profile{Name: r.Profile, Access: r.Access})
		}
	}
	return n
}

// lackingOwners returns the accounts, in lower case, for which the workspace should
// have a token but has none.
func lackingOwners(r *workspace.Record) []string {
	return slices.DeleteFunc(r.Owners(), func(owner string) bool {
		return slices.ContainsFunc(r.Tokens, func(t workspace.Token) bool {
			return t.State == workspace.Delivered && strings.EqualFold(t.Owner, owner)
		})
	})
}
