package workspace

import (
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/mint"
)

// A Record is a workspace's page of the ledger: what it may have and every
// token it has been given. It holds no secrets. It is written before each step
// that leaves something behind, so that the next run can finish or undo it.
type Record struct {
	ID      string `json:"id"`
	Profile string `json:"profile,omitempty"` // the profile's name, for people
	Access         // of every new token
	// Margin is how long a token has to last to be left alone; 0 means the
	// issuer's own. Whole seconds.
	Margin     time.Duration `json:"-"`
	Created    time.Time     `json:"created"`
	Destroying bool          `json:"destroying,omitempty"` // destroy has begun; nothing is minted any more
	Tokens     []Token       `json:"tokens"`
	LastError  *LastError    `json:"last_error,omitempty"` // why the latest run failed; nil where it did not
	History    []PastEvent   `json:"events,omitempty"`     // the latest events, the oldest first

	wanted  []string // owners that are to have a token, as this run knows the installations; nil before it does
	isDirty bool     // a token that has run out is forgotten, and that is still to be written
	version version  // of the store's entry
}

// State is how far a token has come. Each is written before the step after it.
type State string

// The states, in their order.
const (
	Planned    State = "planned"    // somebody means to mint it
	Minting    State = "minting"    // GitHub may have been asked; the token may be alive unseen
	Minted     State = "minted"     // it is alive; it may have been delivered
	Delivered  State = "delivered"  // the workspace can read it
	Superseded State = "superseded" // another took its place; it is alive for a grace
	Revoked    State = "revoked"    // it is dead, or lost and left to run out
)

// states knows the rank of each.
var states = []State{Planned, Minting, Minted, Delivered, Superseded, Revoked}

// A Token is one token in the ledger. A token is known by its hash.
type Token struct {
	Owner        string    `json:"owner"`
	Installation int64     `json:"installation,omitempty"` // from Minting on
	State        State     `json:"state"`
	Hash         string    `json:"hash,omitempty"`   // base64(sha256(token)), from Minted on
	Minted       time.Time `json:"minted,omitzero"`  // from Minted on
	Expires      time.Time `json:"expires,omitzero"` // from Minted on; as GitHub says
	Changed      time.Time `json:"changed"`          // when State was written
	Note         string    `json:"note,omitempty"`   // why it ended, where that is not plain
	// Lost says that nobody has its text: it lives until Expires at the latest.
	Lost bool `json:"lost,omitempty"`

	// What it was minted for: a digest of patterns and permissions, by which a
	// token of an earlier profile is told from one of today's.
	Grant string `json:"grant,omitempty"`
	// What GitHub granted, for people; empty once it is Revoked. All says that
	// it opens every repository of its installation.
	All          bool              `json:"all,omitempty"`
	Repositories []string          `json:"repositories,omitempty"`
	Permissions  map[string]string `json:"permissions,omitempty"`
}

// IsAlive reports whether the token may work at that time.
func (t Token) IsAlive(now time.Time) bool {
	return (t.State != Revoked && t.State != Planned || t.Lost) && t.DiesBy().After(now)
}

// DiesBy returns when the token is dead at the latest without anybody's help.
// A token that was being minted is given GitHub's hour.
func (t Token) DiesBy() time.Time {
	switch {
	case t.State == Minting:
		return t.Changed.Add(tokenLife)
	case t.State == Minted || t.State == Delivered || t.State == Superseded || t.Lost:
		return t.Expires
	}
	return t.Changed
}

// tokenLife is how long GitHub's installation tokens live, with room for a
// clock that is off.
const tokenLife = time.Hour + 5*time.Minute

// Access is what the tokens of a workspace open. The profile says it, and the ledger
// keeps it in this form. The zero Access is none.
//
// Patterns are resolved anew for each token: installations and repositories change.
type Access struct {
	Repositories []mint.Pattern   `json:"repositories"` // none means no access to GitHub at all
	Permissions  mint.Permissions `json:"permissions"`
	// Optional are permissions that a token has where the installation grants
	// them, and lacks where it does not. The zero value is none.
	Optional mint.Permissions `json:"optional_permissions,omitzero"`
}

// HasAccess reports whether a workspace gets any token.
func (a Access) HasAccess() bool { return len(a.Repositories) > 0 }

// Most returns the permissions with the optional ones.
func (a Access) Most() mint.Permissions { return a.Permissions.With(a.Optional) }

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
