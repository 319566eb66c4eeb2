package workspace

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/mint"
)

// An Action is what a run does to one owner's token.
type Action string

// The actions, in the order in which they are done.
const (
	Adopt     Action = "adopt"     // the ledger learns that a token was delivered
	Supersede Action = "supersede" // the ledger learns that another token took its place
	Abandon   Action = "abandon"   // the ledger gives a token up that nobody holds; it runs out by itself
	Revoke    Action = "revoke"    // end a token that the store holds, then delete it there
	Forget    Action = "forget"    // delete from the store a token that is dead anyway
	Mint      Action = "mint"      // make and deliver a new one
	Leave     Action = "leave"     // nothing is done to a token that gatepass did not write
)

var actions = []Action{Adopt, Supersede, Abandon, Revoke, Forget, Mint, Leave}

// A Step is one thing that a run still has to do.
type Step struct {
	Do    Action
	Owner string // in lower case
	Hash  string // of the token, where it is known
	Why   string // for people
}

// Held is what the store holds for a workspace, by hash. It was read after the
// record.
type Held struct {
	// Current are the tokens that the workspace reads, by owner in lower case,
	// and by "" the only token, where it is no copy of one of those.
	Current map[string]string
	// Superseded are kept to be revoked.
	Superseded []string
	// Vended were given by brokers, which look after them as long as the
	// workspace is not destroyed.
	Vended []string
	// Ends says when a token of Current has run out, by what the store says of it.
	Ends map[string]time.Time
}

// Want is what a run is to reach.
type Want struct {
	// Owners are the accounts, in lower case, for which the workspace is to have a token.
	// None when the workspace is destroyed.
	Owners []string
	Now    time.Time
	Doubt  time.Duration // how far Now may be ahead of the time
	Margin time.Duration // a token that ends sooner than this from now is replaced
	Grace  time.Duration // a token whose place another took is revoked after this
	Since  time.Time     // a token that was minted before this is replaced; zero for none
	// Adopt has live tokens that gatepass did not write replaced and revoked. Without
	// it they are left alone: another system looks after them.
	Adopt bool
}

// Plan decides what a run has to do so that each owner in want has one live
// token that the workspace can read, nobody else has any, and superseded ones
// end in time. Another system's tokens are left alone, unless want.Adopt is set or
// the workspace is destroyed. It is a function of its arguments only, and of no step that is
// done before: after a crash anywhere the next run plans anew. When nothing is
// left to do it returns none.
func Plan(r *Record, held Held, want Want) []Step {
	p := planner{held: held, want: want, grants: map[string]string{}, live: map[string]bool{}, given: map[string]bool{}, left: map[string]bool{}, isEnding: r.Destroying}
	if !r.Destroying {
		for _, owner := range want.Owners {
			p.grants[owner] = r.Grant(owner)
		}
	}
	known := map[string]bool{}
	for _, t := range r.Tokens {
		known[t.Hash] = true
		if t.Hash != "" {
			p.given[strings.ToLower(t.Owner)] = true
		}
		p.token(t)
	}
	p.unknown(known)
	for _, owner := range slices.Sorted(maps.Keys(p.grants)) {
		if !p.live[owner] && !p.left[owner] {
			p.add(Mint, owner, "", "there is no token that lasts")
		}
	}
	slices.SortStableFunc(p.steps, func(a, b Step) int {
		return cmp.Or(cmp.Compare(slices.Index(actions, a.Do), slices.Index(actions, b.Do)),
			cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Hash, b.Hash))
	})
	return p.steps
}

type planner struct {
	held  Held
	want  Want
	steps []Step

	grants map[string]string // what an owner's token is for; of owners that are to have one
	live   map[string]bool   // owners with a token that stays
	given  map[string]bool   // owners of tokens that the ledger knows
	left   map[string]bool   // owners whose place another system's token has

	isEnding bool // the workspace is destroyed
}

func (p *planner) add(do Action, owner, hash, why string) {
	p.steps = append(p.steps, Step{do, owner, hash, why})
}

// unknown is about what the store holds and the ledger has never heard of.
func (p *planner) unknown(known map[string]bool) {
	const why = "the ledger does not know the token in the store"
	for owner, hash := range p.held.Current {
		switch {
		case known[hash]:
		case p.isForeign(hash):
			p.left[owner] = true
			p.add(Leave, owner, hash, "gatepass did not write it")
		case !p.isInherited(owner):
			p.revoke(owner, hash, why)
		}
	}
	for _, hash := range p.held.Superseded {
		if !known[hash] {
			p.revoke("", hash, why)
		}
	}
	if p.isEnding {
		for _, hash := range p.held.Vended {
			p.revoke("", hash, "the workspace is destroyed")
		}
	}
}

// isForeign reports whether an unknown token is left to the system that wrote it.
// One that has run out is of use to nobody, and one that is kept to be revoked was
// adopted by a run that did not come to its end.
func (p *planner) isForeign(hash string) bool {
	end, isKnown := p.held.Ends[hash]
	isLive := !isKnown || end.After(p.want.Now)
	return isLive && !p.want.Adopt && !p.isEnding && !slices.Contains(p.held.Superseded, hash)
}

// isInherited reports whether a token that the workspace reads is the first
// system's: nothing else was ever given. It stays until another takes its place.
func (p *planner) isInherited(owner string) bool {
	if owner == "" {
		return len(p.given) == 0 && len(p.grants) > 0
	}
	_, isWanted := p.grants[owner]
	return isWanted && !p.given[owner]
}

// revoke adds that step once: a token may be kept in several places.
func (p *planner) revoke(owner, hash, why string) {
	if !slices.ContainsFunc(p.steps, func(s Step) bool { return s.Do == Revoke && s.Hash == hash }) {
		p.add(Revoke, owner, hash, why)
	}
}

// token decides about one line of the ledger.
func (p *planner) token(t Token) {
	owner := strings.ToLower(t.Owner)
	isRead := t.Hash != "" && p.held.Current[owner] == t.Hash
	isKept := t.Hash != "" && (slices.Contains(p.held.Superseded, t.Hash) || p.held.Current[""] == t.Hash)
	grant, isWanted := p.grants[owner]
	switch {
	case t.State == Revoked && (isRead || isKept):
		p.add(Forget, owner, t.Hash, "it was revoked and is still in the store")
	case t.State == Revoked:
	case !isRead && !isKept:
		p.lost(t, owner)
	case p.hasEnded(t):
		p.add(Forget, owner, t.Hash, "it has run out")
	case !isWanted:
		p.add(Revoke, owner, t.Hash, "the workspace is not to have it any more")
	case isRead:
		p.keep(t, owner, grant)
	case t.State != Superseded:
		p.add(Supersede, owner, t.Hash, "a run ended after another took its place")
	case t.isFor(grant) && t.Changed.Add(p.want.Grace).After(p.want.Now):
	default:
		p.add(Revoke, owner, t.Hash, "another took its place")
	}
}

// hasEnded reports whether a token has surely run out.
func (p *planner) hasEnded(t Token) bool { return !t.Expires.After(p.want.Now.Add(-p.want.Doubt)) }

// Grant is a digest of what the owner's token is for.
func (a Access) Grant(owner string) string {
	var texts []string
	for _, p := range a.Repositories {
		if p.Everything() || p.Owner() == owner {
			texts = append(texts, strings.ToLower(p.String()))
		}
	}
	slices.Sort(texts)
	said, err := json.Marshal([]any{texts, a.Permissions.Levels(), a.Optional.Levels()}) // a map's keys are sorted
	if err != nil {
		return "" // never: there are only texts
	}
	sum := sha256.Sum256(said)
	return base64.RawStdEncoding.EncodeToString(sum[:9])
}

// isFor reports whether a token is for that grant. One that does not say is.
func (t Token) isFor(grant string) bool { return t.Grant == "" || t.Grant == grant }

// lost is a token whose text nobody has: it cannot be revoked any more.
func (p *planner) lost(t Token, owner string) {
	why := "a run ended before GitHub was asked for it"
	switch {
	case t.Hash != "" && p.hasEnded(t):
		why = "it has run out"
	case t.State == Minting:
		why = "a run ended while GitHub was asked for it"
	case t.State == Minted:
		why = "a run ended before it was delivered"
	case t.State != Planned:
		why = "it is not in the store any more"
	}
	p.add(Abandon, owner, t.Hash, why)
}

// keep is a live token that the workspace reads and may have. One that ends
// soon, or is not for what the workspace may do today, stays until the next one
// takes its place.
func (p *planner) keep(t Token, owner, grant string) {
	if t.State != Delivered {
		p.add(Adopt, owner, t.Hash, "a run ended after it was delivered")
	}
	if t.isFor(grant) && !t.Minted.Before(p.want.Since) && t.lasts(p.want.Now, p.want.Margin) {
		p.live[owner] = true
	}
}

// lasts reports whether a token lasts a margin and a little more, which differs
// from token to token: so those that were minted together are not replaced
// together.
func (t Token) lasts(now time.Time, margin time.Duration) bool {
	return t.lastsUntil(margin).After(now)
}

// lastsUntil is from when on a token does not last that margin.
func (t Token) lastsUntil(margin time.Duration) time.Time {
	return t.Expires.Add(-margin - t.jitter(min(margin/4, longestWait-margin)))
}

// longestWait is the most that a token may be asked to last: GitHub's live an
// hour, and a new one has to be left alone for a while.
const longestWait = MaxMargin + 5*time.Minute

func (t Token) jitter(most time.Duration) time.Duration {
	h := fnv.New32a()
	h.Write([]byte(t.Hash))
	seconds := uint64(max(most, 0)/time.Second) * uint64(h.Sum32()) >> 32
	return time.Duration(seconds) * time.Second
}

// due returns when a pass has something to do for the workspace by its record alone, with
// the margin and grace of want: now, or a later time. The zero time means never. A store
// that is Indexed keeps it with the record, so that a pass reads what is due and no more.
// It is never later than a pass with that margin and grace finds the workspace due.
//
// Blocks do not count: a workspace that has no token because it is blocked is due now, so
// that the first pass after the block finds it.
func (r *Record) due(want Want) time.Time {
	if r.Destroying || r.LastError != nil && r.LastError.Foreign {
		return want.Now
	}
	owners, isKnown := r.wantedOwners()
	if !isKnown {
		return want.Now
	}
	var next time.Time
	current := map[string]bool{} // owners with a delivered token
	for _, t := range r.Tokens {
		owner := strings.ToLower(t.Owner)
		isWanted := slices.Contains(owners, owner) && t.isFor(r.Grant(owner))
		switch {
		case t.State == Revoked, t.State == Superseded && !t.Expires.After(want.Now.Add(-want.Doubt)):
		case t.State == Superseded && isWanted:
			if end := t.Changed.Add(want.Grace); end.Before(t.Expires) {
				next = sooner(next, end)
			}
		case t.State == Delivered && isWanted && !current[owner]:
			current[owner] = true
			next = sooner(next, t.lastsUntil(want.Margin))
		default:
			return want.Now
		}
	}
	if slices.ContainsFunc(owners, func(owner string) bool { return !current[owner] }) || next.Before(want.Now) && !next.IsZero() {
		return want.Now
	}
	return next
}

// wantedOwners are the accounts, in lower case, that are to have a token. isKnown is
// false where that depends on installations and this run has not looked them up.
func (r *Record) wantedOwners() (owners []string, isKnown bool) {
	if r.wanted != nil {
		return r.wanted, true
	}
	owners = ownersOf(r.Repositories, nil)
	if !slices.ContainsFunc(r.Repositories, mint.Pattern.Everything) {
		return owners, true
	}
	for _, t := range r.Tokens {
		if t.State == Delivered {
			owners = append(owners, strings.ToLower(t.Owner))
		}
	}
	return owners, len(owners) > 0
}

// sooner returns the earlier of two times; zero is none.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
