package workspace

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
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

func (r *Record) check() error {
	bad := []error{store.CheckWorkspace(r.ID), checkMargin(r.Margin)}
	bad = append(bad, r.Access.check()...)
	for _, t := range r.Tokens {
		bad = append(bad, t.check())
	}
	return usererr.Join(bad...)
}

func (t Token) check() error {
	known := t.State == Minted || t.State == Delivered || t.State == Superseded
	switch {
	case !slices.Contains(states, t.State):
		return fmt.Errorf("a token is in the unknown state %q", t.State)
	case t.Owner == "" || t.Changed.IsZero():
		return errors.New("a token has no owner or no date")
	case t.State == Minting && t.Installation <= 0, known && (t.Hash == "" || t.Expires.IsZero() || t.Installation <= 0):
		return fmt.Errorf("a token that is %s has no hash, expiry or installation", t.State)
	}
	return nil
}

// CheckMargin returns an error for a margin that no token of an hour can have.
func CheckMargin(d time.Duration) error {
	if d < time.Minute || d > MaxMargin || d%time.Second != 0 {
		return fmt.Errorf("a margin is from 1m to %s in whole seconds, not %s", MaxMargin, d)
	}
	return nil
}

// MaxMargin leaves a new token ten minutes before it is replaced.
const MaxMargin = 50 * time.Minute

func checkMargin(d time.Duration) error {
	if d == 0 {
		return nil
	}
	return CheckMargin(d)
}

// maxLost is how many tokens that nobody ever saw a record names: a GitHub that
// does not answer for an hour would fill it until no store takes it.
const maxLost = 100

// prune leaves out what is dead for long, and the oldest of what was lost unseen,
// which ends before the others. With keepsApp it leaves each owner's latest token, which
// says by which App it was minted. It moves the tokens of the record.
func (r *Record) prune(now time.Time, keepsApp bool) {
	unseen := 0
	for _, t := range r.Tokens {
		if t.isUnseen() {
			unseen++
		}
	}
	kept := r.Tokens[:0]
	for at, t := range r.Tokens {
		isOver := t.State == Revoked && now.Sub(t.Changed) > tokenLife && !(keepsApp && r.isLatest(at))
		if t.isUnseen() {
			unseen--
			isOver = isOver || unseen >= maxLost
		}
		if !isOver {
			kept = append(kept, t)
		}
	}
	clear(r.Tokens[len(kept):])
	r.Tokens = kept
}

// isUnseen reports whether the token was lost before anybody knew more of it than
// that it may be.
func (t Token) isUnseen() bool { return t.Lost && t.Hash == "" }

// turn sets a token's state. What it opened is of no interest once it is dead.
func (t *Token) turn(state State, now time.Time, note string) {
	t.State, t.Changed, t.Note = state, now, note
	if state == Revoked {
		t.All, t.Repositories, t.Permissions = false, nil, nil
	}
}

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

func (a Access) check() (bad []error) {
	if a.HasAccess() {
		// Levels is empty for "all", too, which no profile can say.
		bad = append(bad, mint.PermissionLevels(a.Permissions.Levels()).Validate())
	}
	if !a.Optional.IsZero() {
		bad = append(bad, a.Optional.Validate())
	}
	return bad
}
