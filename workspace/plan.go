package workspace

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// An Action is what a run does to one owner's token.
type Action string

// The actions, in the order in which they are done.
const (
	Adopt   Action = "adopt"   // the ledger learns that a token was delivered
	Abandon Action = "abandon" // the ledger gives a token up that nobody holds; it runs out by itself
	Revoke  Action = "revoke"  // end the token that the store holds, then delete it there
	Forget  Action = "forget"  // delete from the store a token that is dead anyway
	Mint    Action = "mint"    // make and deliver a new one
)

var actions = []Action{Adopt, Abandon, Revoke, Forget, Mint}

// A Step is one thing that a run still has to do.
type Step struct {
	Do    Action
	Owner string // in lower case
	Hash  string // of the token, where it is known
	Why   string // for people
}

// Held is what the store holds for a workspace: the hashes of its tokens by
// owner in lower case, and by "" that of the only token, where it is no copy of
// one of those. It was read after the record.
type Held map[string]string

// Want is what a run is to reach.
type Want struct {
	Owners []string // who is to have a token; none when the workspace is destroyed
	Now    time.Time
	Margin time.Duration // a token that ends sooner than this from now is replaced
}

// Plan decides what a run has to do so that each owner in want has one live
// token that the workspace can read, and nobody else has any. It is a function
// of its arguments only, and of no step that is done before: after a crash
// anywhere the next run plans anew. When nothing is left to do it returns none.
func Plan(r *Record, held Held, want Want) []Step {
	p := planner{held: held, want: want, live: map[string]bool{}}
	if r.Destroying {
		p.want.Owners = nil
	}
	known := map[string]string{}
	for _, t := range r.Tokens {
		known[strings.ToLower(t.Owner)] += t.Hash + " "
		p.token(t)
	}
	for owner, hash := range held {
		if !strings.Contains(known[owner], hash+" ") {
			p.add(Revoke, owner, hash, "the ledger does not know the token in the store")
		}
	}
	for _, owner := range p.want.Owners {
		if owner = strings.ToLower(owner); !p.live[owner] {
			p.add(Mint, owner, "", "there is no token that lasts")
			p.live[owner] = true
		}
	}
	slices.SortFunc(p.steps, func(a, b Step) int {
		return cmp.Or(cmp.Compare(slices.Index(actions, a.Do), slices.Index(actions, b.Do)),
			cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Hash, b.Hash))
	})
	return p.steps
}

type planner struct {
	held  Held
	want  Want
	live  map[string]bool // owners with a token that stays, or a new one
	steps []Step
}

func (p *planner) add(do Action, owner, hash, why string) {
	p.steps = append(p.steps, Step{do, owner, hash, why})
}

// token decides about one line of the ledger.
func (p *planner) token(t Token) {
	owner := strings.ToLower(t.Owner)
	isHeld := t.Hash != "" && p.held[owner] == t.Hash
	isDead := !t.Expires.IsZero() && !t.Expires.After(p.want.Now)
	isWanted := slices.ContainsFunc(p.want.Owners, func(o string) bool { return strings.EqualFold(o, owner) })
	switch {
	case t.State == Revoked && isHeld:
		p.add(Forget, owner, t.Hash, "it was revoked and is still in the store")
	case t.State == Revoked:
	case !isHeld:
		p.lost(t, owner, isDead)
	case isDead:
		p.add(Forget, owner, t.Hash, "it has run out")
	case !isWanted:
		p.add(Revoke, owner, t.Hash, "the workspace is not to have it any more")
	default:
		p.keep(t, owner)
	}
}

// lost is a token whose text nobody has: it cannot be revoked any more.
func (p *planner) lost(t Token, owner string, isDead bool) {
	why := "a run ended before GitHub was asked for it"
	switch {
	case isDead:
		why = "it has run out"
	case t.State == Minting:
		why = "a run ended while GitHub was asked for it"
	case t.State == Minted:
		why = "a run ended before it was delivered"
	case t.State == Delivered:
		why = "it is not in the store any more"
	}
	p.add(Abandon, owner, t.Hash, why)
}

// keep is a live token that the workspace reads and may have. One that ends soon
// stays until the next one takes its place.
func (p *planner) keep(t Token, owner string) {
	if t.State == Minted {
		p.add(Adopt, owner, t.Hash, "a run ended after it was delivered")
	}
	if t.Expires.After(p.want.Now.Add(p.want.Margin)) {
		p.live[owner] = true
	}
}
