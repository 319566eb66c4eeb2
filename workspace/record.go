package workspace

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
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

	failed       []string // owners whose token this run could not mint
	wanted       []string // owners that are to have a token, as this run knows the installations; nil before it does
	isDirty      bool     // a token that has run out is forgotten, and that is still to be written
	isNew        bool     // this run made it
	isForced     bool     // this run replaces every token
	standsIn     bool     // for a record that is not there or cannot be read
	keepsUnknown bool     // the store keeps a token to be revoked that is not in Tokens
	seen         seen     // of the store's entry
	expects      bool     // this run noted in LastError that the store will keep such a token
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
