package workspace

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/workspace/profile"
)

// An Action is what a run does with one owner's token.
type Action string

// The actions, in the order in which a run does them.
const (
	Adopt     Action = "adopt"     // record that a token was delivered
	Supersede Action = "supersede" // record that another token replaced it
	Abandon   Action = "abandon"   // give up a token whose value is lost; it expires by itself
	Revoke    Action = "revoke"    // revoke a token in the store, then delete it there
	Forget    Action = "forget"    // delete an expired or revoked token from the store
	Mint      Action = "mint"      // mint and deliver a new one
	Leave     Action = "leave"     // do nothing with a token that gatepass did not write
)

var actions = []Action{Adopt, Supersede, Abandon, Revoke, Forget, Mint, Leave}

// A Step is one action that a run still has to do.
type Step struct {
	Do    Action
	Owner string // in lower case
	Hash  string // of the token, if it is known
	Why   string // for people
}

// Held are the tokens that the store has for a workspace, by hash. They must be read
// after the record.
type Held struct {
	// Current are the tokens that the workspace reads, by owner in lower case. The
	// owner "" has the only token, unless it is a copy of another one.
	Current map[string]string
	// Superseded are stored to be revoked.
	Superseded []string
	// Vended were given by brokers, which handle them unless the workspace is
	// destroyed.
	Vended []string
	// Ends is when a token of Current expires, according to the store.
	Ends map[string]time.Time
}

// Want is the goal of a run.
type Want struct {
	// Owners are the accounts, in lower case, that need a token. It is empty if the
	// workspace is being destroyed.
	Owners      []string
	Now         time.Time
	Uncertainty time.Duration // how far Now may be ahead of the real time
	Margin      time.Duration // a token that expires sooner than this is replaced
	Grace       time.Duration // a superseded token is revoked after this
	Since       time.Time     // a token minted before this is replaced; zero for none
	// Adopt replaces and revokes live tokens that gatepass did not write. Without it,
	// they are left alone, because another system handles them.
	Adopt bool
}

// Plan returns the steps after which each owner in want has one live token that the
// workspace can read, no other owner has one, and superseded tokens are revoked in
// time. It leaves another system's tokens alone, unless want.Adopt is set or the
// workspace is being destroyed. It depends only on its arguments: after a crash
// anywhere, the next run plans anew. If nothing is left to do, it returns no steps.
func Plan(r *Record, held Held, want Want) []Step {
	p := planner{held: held, want: want, grants: map[string]string{}, live: map[string]bool{}, knownOwners: map[string]bool{}, left: map[string]bool{}, isEnding: r.Destroying}
	if !r.Destroying {
		for _, owner := range want.Owners {
			p.grants[owner] = grantOf(r.Access, owner)
		}
	}
	known := map[string]bool{}
	for _, t := range r.Tokens {
		known[t.Hash] = true
		if t.Hash != "" {
			p.knownOwners[strings.ToLower(t.Owner)] = true
		}
		p.token(t)
	}
	p.unknown(known)
	for _, owner := range slices.Sorted(maps.Keys(p.grants)) {
		if !p.live[owner] && !p.left[owner] {
			p.add(Mint, owner, "", "no token is valid for long enough")
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

	grants      map[string]string // what an owner's token is for, by owners that need one
	live        map[string]bool   // owners with a token that stays
	knownOwners map[string]bool   // owners of tokens that the ledger knows
	left        map[string]bool   // owners with another system's token in their place

	isEnding bool // the workspace is being destroyed
}

func (p *planner) add(do Action, owner, hash, why string) {
	p.steps = append(p.steps, Step{do, owner, hash, why})
}

// unknown plans for tokens in the store that the ledger does not know.
func (p *planner) unknown(known map[string]bool) {
	const why = "the ledger does not have the token in the store"
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

// isForeign reports whether an unknown token is left to the system that wrote it. An
// expired token is not, and neither is one that is stored to be revoked: a run that did
// not finish has adopted it.
func (p *planner) isForeign(hash string) bool {
	end, isKnown := p.held.Ends[hash]
	isLive := !isKnown || end.After(p.want.Now)
	return isLive && !p.want.Adopt && !p.isEnding && !slices.Contains(p.held.Superseded, hash)
}

// isInherited reports whether a token that the workspace reads is the first system's:
// gatepass never gave one. It stays until another token replaces it.
func (p *planner) isInherited(owner string) bool {
	if owner == "" {
		return len(p.knownOwners) == 0 && len(p.grants) > 0
	}
	_, isWanted := p.grants[owner]
	return isWanted && !p.knownOwners[owner]
}

// revoke adds this step only once: several entries may hold the token.
func (p *planner) revoke(owner, hash, why string) {
	if !slices.ContainsFunc(p.steps, func(s Step) bool { return s.Do == Revoke && s.Hash == hash }) {
		p.add(Revoke, owner, hash, why)
	}
}

// token plans for one token of the ledger.
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
		p.planLost(t, owner)
	case p.hasEnded(t):
		p.add(Forget, owner, t.Hash, "it has expired")
	case !isWanted:
		p.add(Revoke, owner, t.Hash, "the workspace must no longer have it")
	case isRead:
		p.keepToken(t, owner, grant)
	case t.State != Superseded:
		p.add(Supersede, owner, t.Hash, "a run ended after another token replaced it")
	case t.isFor(grant) && t.Changed.Add(p.want.Grace).After(p.want.Now):
	default:
		p.add(Revoke, owner, t.Hash, "another token replaced it")
	}
}

// hasEnded reports whether a token has surely expired.
func (p *planner) hasEnded(t Token) bool {
	return !t.Expires.After(p.want.Now.Add(-p.want.Uncertainty))
}

// grantOf returns a digest of what the owner's token is for.
func grantOf(a profile.Access, owner string) string {
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

// isFor reports whether a token is for that grant. It is true for a token without a
// recorded grant.
func (t Token) isFor(grant string) bool { return t.Grant == "" || t.Grant == grant }

// planLost plans for a token whose value is lost: it cannot be revoked any more.
func (p *planner) planLost(t Token, owner string) {
	why := "a run ended before it asked GitHub for the token"
	switch {
	case t.Hash != "" && p.hasEnded(t):
		why = "it has expired"
	case t.State == Minting:
		why = "a run ended while it asked GitHub for the token"
	case t.State == Minted:
		why = "a run ended before it was delivered"
	case t.State != Planned:
		why = "it is no longer in the store"
	}
	p.add(Abandon, owner, t.Hash, why)
}

// keepToken plans for a live token that the workspace reads and may have. A token that
// expires soon, or no longer matches what the workspace may do, stays until the next
// one replaces it.
func (p *planner) keepToken(t Token, owner, grant string) {
	if t.State != Delivered {
		p.add(Adopt, owner, t.Hash, "a run ended after it was delivered")
	}
	if t.isFor(grant) && !t.Minted.Before(p.want.Since) && t.isFresh(p.want.Now, p.want.Margin) {
		p.live[owner] = true
	}
}

// isFresh reports whether a token lasts a margin and a little more. The extra time
// differs from token to token, so that tokens minted together are not replaced
// together.
func (t Token) isFresh(now time.Time, margin time.Duration) bool {
	return t.freshUntil(margin).After(now)
}

// freshUntil returns the time from which a token no longer lasts that margin.
func (t Token) freshUntil(margin time.Duration) time.Time {
	return t.Expires.Add(-margin - t.jitter(min(margin/4, longestWait-margin)))
}

// longestWait is the longest remaining lifetime that a token may be required to have:
// GitHub's tokens live an hour, and a new one must not be replaced at once.
const longestWait = MaxMargin + 5*time.Minute

func (t Token) jitter(most time.Duration) time.Duration {
	h := fnv.New32a()
	h.Write([]byte(t.Hash))
	seconds := uint64(max(most, 0)/time.Second) * uint64(h.Sum32()) >> 32
	return time.Duration(seconds) * time.Second
}

// due returns when a round has something to do for the workspace, by its record alone
// and with the margin and grace of want: now, or a later time. The zero time means
// never. A store that is Indexed stores it with the record, so that a round reads only
// what is due. It is never later than the time at which a round with that margin and
// grace finds the workspace due.
//
// Blocks do not count: a workspace without a token because it is blocked is due now, so
// that the first round after the block finds it.
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
		isWanted := slices.Contains(owners, owner) && t.isFor(grantOf(r.Access, owner))
		switch {
		case t.State == Revoked, t.State == Superseded && !t.Expires.After(want.Now.Add(-want.Uncertainty)):
		case t.State == Superseded && isWanted:
			if end := t.Changed.Add(want.Grace); end.Before(t.Expires) {
				next = sooner(next, end)
			}
		case t.State == Delivered && isWanted && !current[owner]:
			current[owner] = true
			next = sooner(next, t.freshUntil(want.Margin))
		default:
			return want.Now
		}
	}
	if slices.ContainsFunc(owners, func(owner string) bool { return !current[owner] }) || next.Before(want.Now) && !next.IsZero() {
		return want.Now
	}
	return next
}

// wantedOwners returns the accounts, in lower case, that need a token. isKnown is false
// if that depends on installations that this run has not looked up.
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

// Inspect returns the workspace's record and what a run would do now. It changes
// nothing. It asks GitHub only for the time.
func (i *Issuer) Inspect(ctx context.Context, id string) (*Record, []Step, error) {
	i.Sync(ctx)
	r, err := i.Load(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	installed, err := i.apps().stored(ctx)
	if err != nil {
		return nil, nil, err
	}
	blocks, err := store.ReadBlocks(ctx, i.Store)
	if err != nil {
		return nil, nil, err
	}
	owners := allowed(ownersOf(r.Repositories, installed), r.ID, blocks)
	held, err := readHeld(ctx, i.Store, r, owners, false, i.Adopt)
	if err != nil {
		return nil, nil, err
	}
	return r, Plan(r, held.held(), i.ledger().want(r, owners)), nil
}

// A Preview is a token that [Issuer.Create] would request.
type Preview struct {
	Owner        string         // in lower case
	Installation int64          // from the store; 0 if GitHub would be asked
	Patterns     []mint.Pattern // the profile's patterns for this owner
	Stored       store.Name     // where the workspace would read the token
}

// Previews returns the tokens that a workspace of the profile would have, one for each
// owner, according to the installations in the store. It makes no request to GitHub and
// writes nothing.
func Previews(ctx context.Context, s store.Store, id string, p *profile.Profile) ([]Preview, error) {
	installed, err := StoredInstallations(ctx, s)
	if err != nil {
		return nil, err
	}
	var all []Preview
	for _, owner := range ownersOf(p.Repositories, installed) {
		v := Preview{Owner: owner}
		for _, in := range installed {
			if strings.EqualFold(in.Account.Login, owner) {
				v.Installation = in.ID
			}
		}
		for _, pattern := range p.Repositories {
			if pattern.Everything() || pattern.Owner() == owner {
				v.Patterns = append(v.Patterns, pattern)
			}
		}
		if v.Stored, err = store.Token(id, owner); err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

// want returns the goal of a run, with a token for each of the owners.
func (l ledger) want(r *Record, owners []string) Want {
	return Want{
		Owners: owners, Now: l.clock.now(), Uncertainty: l.clock.uncertainty(),
		Margin: cmp.Or(r.Margin, l.margin), Grace: l.grace, Adopt: l.adopt,
	}
}

// ownersOf returns the accounts, in lower case, that patterns name; "*" names those of
// all installations.
func ownersOf(patterns []mint.Pattern, installed []mint.Installation) []string {
	var owners []string
	for _, p := range patterns {
		if !p.Everything() {
			owners = append(owners, p.Owner())
			continue
		}
		for _, in := range installed {
			if !in.Suspended() {
				owners = append(owners, strings.ToLower(in.Account.Login))
			}
		}
	}
	slices.Sort(owners)
	return slices.Compact(owners)
}
