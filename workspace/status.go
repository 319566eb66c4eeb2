package workspace

import (
	"slices"
	"strings"
	"time"
)

// A Condition is how a workspace is, in one word.
type Condition string

// The conditions.
const (
	Ready    Condition = "ready"      // every owner has a token that works
	Failing  Condition = "failing"    // so it is, and the latest run failed: the tokens are not replaced
	Pending  Condition = "pending"    // an owner has no token yet
	Expired  Condition = "expired"    // an owner's token has run out
	Ending   Condition = "destroying" // its destruction has begun
	NoAccess Condition = "no access"  // its profile names no repositories
)

// Condition says how the workspace is by its record.
func (r *Record) Condition(now time.Time) Condition {
	switch {
	case r.Destroying:
		return Ending
	case len(r.Repositories) == 0:
		return NoAccess
	}
	owners := ownersOf(r.Repositories, nil)
	ends := r.ends()
	for _, end := range ends {
		if !end.After(now) {
			return Expired
		}
	}
	for _, owner := range owners {
		if _, ok := ends[owner]; !ok {
			return Pending
		}
	}
	switch {
	case len(ends) == 0: // "*", and no installation is known
		return Pending
	case r.LastError != nil:
		return Failing
	}
	return Ready
}

// ends are when the delivered tokens end, by owner in lower case.
func (r *Record) ends() map[string]time.Time {
	ends := map[string]time.Time{}
	for _, t := range r.Tokens {
		if owner := strings.ToLower(t.Owner); t.State == Delivered && t.Expires.After(ends[owner]) {
			ends[owner] = t.Expires
		}
	}
	return ends
}

// Soonest is when the first of the owners' tokens ends; zero for none.
func (r *Record) Soonest() time.Time {
	var first time.Time
	for _, end := range r.ends() {
		if first.IsZero() || end.Before(first) {
			first = end
		}
	}
	return first
}

// Owners are the accounts, in lower case, that have a token or are to have one.
func (r *Record) Owners() []string {
	owners := ownersOf(r.Repositories, nil)
	for owner := range r.ends() {
		owners = append(owners, owner)
	}
	slices.Sort(owners)
	return slices.Compact(owners)
}

// Missing returns the owners, in lower case, who are to have a token and have none
// that works. "*" stands for the installations, which a record does not know.
func (r *Record) Missing(now time.Time) []string {
	owners, ends := ownersOf(r.Repositories, nil), r.ends()
	missing := slices.DeleteFunc(owners, func(owner string) bool { return ends[owner].After(now) })
	if len(missing) == 0 && len(r.Repositories) > 0 && len(ends) == 0 {
		return []string{"*"}
	}
	return missing
}

// Lost returns the tokens that may be alive and that nobody has.
func (r *Record) Lost(now time.Time) []Token {
	var lost []Token
	for _, t := range r.Tokens {
		if t.Lost && t.IsAlive(now) {
			lost = append(lost, t)
		}
	}
	return lost
}

// installationAt is the installation of the delivered token that ends then; 0 where no token does.
func (r *Record) installationAt(end time.Time) int64 {
	for _, t := range r.Tokens {
		if t.State == Delivered && t.Expires.Equal(end) {
			return t.Installation
		}
	}
	return 0
}

// installationOf is that of the owner's latest token; 0 where there was none.
func (r *Record) installationOf(owner string) int64 {
	for at := len(r.Tokens) - 1; at >= 0; at-- {
		if t := r.Tokens[at]; t.Hash != "" && strings.EqualFold(t.Owner, owner) {
			return t.Installation
		}
	}
	return 0
}

// isLatest reports whether no later token of the owner is known: it says which App the
// workspace has there.
func (r *Record) isLatest(at int) bool {
	t := r.Tokens[at]
	return t.Hash != "" && !slices.ContainsFunc(r.Tokens[at+1:], func(later Token) bool {
		return later.Hash != "" && strings.EqualFold(later.Owner, t.Owner)
	})
}

// latestIn returns the latest token in that state. There is one.
func (r *Record) latestIn(state State) *Token {
	for at := len(r.Tokens) - 1; ; at-- {
		if r.Tokens[at].State == state {
			return &r.Tokens[at]
		}
	}
}

// delivered returns the owner's delivered tokens but that one.
func (r *Record) delivered(owner, but string) []*Token {
	var found []*Token
	for at := range r.Tokens {
		t := &r.Tokens[at]
		if strings.EqualFold(t.Owner, owner) && t.State == Delivered && t.Hash != but {
			found = append(found, t)
		}
	}
	return found
}

func (r *Record) knows(hash string) bool {
	return slices.ContainsFunc(r.Tokens, func(t Token) bool { return t.Hash == hash })
}

// tokenOwners are the accounts, in lower case, of tokens in the ledger.
func (r *Record) tokenOwners() []string {
	var owners []string
	for _, t := range r.Tokens {
		owners = append(owners, strings.ToLower(t.Owner))
	}
	slices.Sort(owners)
	return slices.Compact(owners)
}
