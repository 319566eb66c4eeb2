package workspace

import (
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/workspace/profile"
)

// A Record is a workspace's entry in the ledger: what it may have and every token that
// it was given. It holds no secrets. It is written before each step that leaves
// something behind, so that the next run can finish or undo the step.
type Record struct {
	ID             string `json:"id"`
	Profile        string `json:"profile,omitempty"` // the profile's name, for people
	profile.Access        // of every new token
	// Margin is the remaining lifetime below which a token is replaced; 0 means the
	// issuer's own. Whole seconds.
	Margin     time.Duration `json:"-"`
	Created    time.Time     `json:"created"`
	Destroying bool          `json:"destroying,omitempty"` // the destruction has begun; nothing is minted any more
	Tokens     []Token       `json:"tokens"`
	LastError  *LastError    `json:"last_error,omitempty"` // why the latest run failed; nil if it did not
	History    []PastEvent   `json:"events,omitempty"`     // the latest events, oldest first

	wanted  []string // owners that need a token, by the installations that this run knows; nil before it knows them
	isDirty bool     // an expired token was dropped, which is not saved yet
	version version  // of the store's entry
}

// State is the progress of a token. Each state is written before the next step.
type State string

// The states, in order.
const (
	Planned    State = "planned"    // a run intends to mint it
	Minting    State = "minting"    // GitHub may have been asked; the token may be alive although its value is not known
	Minted     State = "minted"     // it is alive; it may have been delivered
	Delivered  State = "delivered"  // the workspace can read it
	Superseded State = "superseded" // another token replaced it; it lives for a grace period
	Revoked    State = "revoked"    // it is revoked or expired, or lost and left to expire
)

// states are in order of their rank.
var states = []State{Planned, Minting, Minted, Delivered, Superseded, Revoked}

// A Token is one token in the ledger, identified by its hash.
type Token struct {
	Owner        string    `json:"owner"`
	Installation int64     `json:"installation,omitempty"` // from Minting on
	State        State     `json:"state"`
	Hash         string    `json:"hash,omitempty"`   // base64(sha256(token)), from Minted on
	Minted       time.Time `json:"minted,omitzero"`  // from Minted on
	Expires      time.Time `json:"expires,omitzero"` // from Minted on; stated by GitHub
	Changed      time.Time `json:"changed"`          // when State was written
	Note         string    `json:"note,omitempty"`   // why it ended, if that is not obvious
	// Lost means that its value is lost: it lives until Expires at the latest.
	Lost bool `json:"lost,omitempty"`

	// What it was minted for: a digest of patterns and permissions, which distinguishes
	// a token of an earlier profile from one of the current profile.
	Grant string `json:"grant,omitempty"`
	// What GitHub granted, for display; empty once it is Revoked. All means that it
	// opens every repository of its installation.
	All          bool              `json:"all,omitempty"`
	Repositories []string          `json:"repositories,omitempty"`
	Permissions  map[string]string `json:"permissions,omitempty"`
}

// IsAlive reports whether the token may be valid at that time.
func (t Token) IsAlive(now time.Time) bool {
	return (t.State != Revoked && t.State != Planned || t.Lost) && t.ExpiresBy().After(now)
}

// ExpiresBy returns when the token expires at the latest if it is not revoked. For a token
// that was being minted, it assumes GitHub's hour.
func (t Token) ExpiresBy() time.Time {
	switch {
	case t.State == Minting:
		return t.Changed.Add(tokenLife)
	case t.State == Minted || t.State == Delivered || t.State == Superseded || t.Lost:
		return t.Expires
	}
	return t.Changed
}

// tokenLife is the lifetime of GitHub's installation tokens, with a margin for a clock
// that is off.
const tokenLife = time.Hour + 5*time.Minute

// A Condition is the state of a workspace, in one word.
type Condition string

// The conditions.
const (
	Ready    Condition = "ready"      // every owner has a valid token
	Failing  Condition = "failing"    // every owner has a valid token, but the latest run failed, so the tokens are not replaced
	Pending  Condition = "pending"    // an owner has no token yet
	Expired  Condition = "expired"    // an owner's token has expired
	Ending   Condition = "destroying" // its destruction has begun
	NoAccess Condition = "no access"  // its profile names no repositories
)

// Condition returns the state of the workspace, according to its record.
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

// ends returns when the delivered tokens expire, by owner in lower case.
func (r *Record) ends() map[string]time.Time {
	ends := map[string]time.Time{}
	for _, t := range r.Tokens {
		if owner := strings.ToLower(t.Owner); t.State == Delivered && t.Expires.After(ends[owner]) {
			ends[owner] = t.Expires
		}
	}
	return ends
}

// Soonest returns the first expiry of the owners' tokens; zero for none.
func (r *Record) Soonest() time.Time {
	var first time.Time
	for _, end := range r.ends() {
		if first.IsZero() || end.Before(first) {
			first = end
		}
	}
	return first
}

// Owners returns the accounts, in lower case, that have or need a token.
func (r *Record) Owners() []string {
	owners := ownersOf(r.Repositories, nil)
	for owner := range r.ends() {
		owners = append(owners, owner)
	}
	slices.Sort(owners)
	return slices.Compact(owners)
}

// Missing returns the owners, in lower case, that need a token and have no valid one.
// "*" means the owners of the installations, which a record does not know.
func (r *Record) Missing(now time.Time) []string {
	owners, ends := ownersOf(r.Repositories, nil), r.ends()
	missing := slices.DeleteFunc(owners, func(owner string) bool { return ends[owner].After(now) })
	if len(missing) == 0 && len(r.Repositories) > 0 && len(ends) == 0 {
		return []string{"*"}
	}
	return missing
}

// Lost returns the tokens that may be alive and whose value is lost.
func (r *Record) Lost(now time.Time) []Token {
	var lost []Token
	for _, t := range r.Tokens {
		if t.Lost && t.IsAlive(now) {
			lost = append(lost, t)
		}
	}
	return lost
}

// installationAt returns the installation of the delivered token that expires at end; 0
// if there is none.
func (r *Record) installationAt(end time.Time) int64 {
	for _, t := range r.Tokens {
		if t.State == Delivered && t.Expires.Equal(end) {
			return t.Installation
		}
	}
	return 0
}

// maxLost is the largest number of lost tokens without a hash in a record: if GitHub
// did not answer for an hour, the record would become too long for every store.
const maxLost = 100

// prune removes tokens from the record that are long dead, and the oldest of those that
// were lost before their hash was known, which expire before the others. In a pool it
// keeps each owner's latest token, which tells the App that minted it.
func (r *Record) prune(now time.Time, isPool bool) {
	unseen := 0
	for _, t := range r.Tokens {
		if t.isUnconfirmed() {
			unseen++
		}
	}
	kept := r.Tokens[:0]
	for at, t := range r.Tokens {
		isOver := t.State == Revoked && now.Sub(t.Changed) > tokenLife && !(isPool && r.isLatest(at))
		if t.isUnconfirmed() {
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

// isLatest reports whether the token is the owner's latest one, which tells the
// workspace's App.
func (r *Record) isLatest(at int) bool {
	t := r.Tokens[at]
	return t.Hash != "" && !slices.ContainsFunc(r.Tokens[at+1:], func(later Token) bool {
		return later.Hash != "" && strings.EqualFold(later.Owner, t.Owner)
	})
}

// isUnconfirmed reports whether the token was lost before its hash was known.
func (t Token) isUnconfirmed() bool { return t.Lost && t.Hash == "" }

// A PastEvent is one of the latest events of a workspace, stored in its record. It
// holds no secret.
type PastEvent struct {
	At    time.Time `json:"at"`    // of the latest one, if Times is set
	What  string    `json:"event"` // minted, moved, delivered, revoked, lost or failed
	Owner string    `json:"owner,omitempty"`
	Hash  string    `json:"hashed_token,omitempty"`
	Why   string    `json:"reason,omitempty"`
	Times int       `json:"times,omitempty"` // how often it happened, if more than once
}

// The values of What, for the types of events that are stored.
const (
	delivered = "delivered" // not a type of Event: the audit log has the token's minting instead
	failed    = "failed"
)

// A LastError is why the latest run could not do everything that a record asks for. The
// next run that can removes it from the record.
type LastError struct {
	At  time.Time `json:"at"`
	Why string    `json:"error"` // one line of at most maxWhy bytes, without secrets
	// Foreign means that another system's token was left alone ([ErrForeign]), or is
	// stored to be revoked: the store has more tokens than the record lists.
	Foreign bool `json:"foreign,omitempty"`
	// Owners are the accounts, in lower case, whose tokens could not be minted.
	Owners []string `json:"owners,omitempty"`
}

// maxWhy limits the text of a LastError, in bytes: stores limit the size of a record.
const maxWhy = 500

var pastNames = map[Type]string{Generated: "minted", Moved: "moved", Ended: "revoked", Lost: "lost", Failed: failed}

// The limits of a history: its number of events, the bytes of a reason, and the size in
// bytes up to which a record takes events. The last is AWS's standard tier, which is
// free.
const (
	maxPast   = 20
	maxReason = 160
	freeSize  = 4 << 10
)

// Type is the type of an Event.
type Type string

// The types of events. Audit logs show these names.
const (
	Generated Type = "token_generated"         // a token was minted
	Failed    Type = "token_generation_failed" // a token could not be minted
	Ended     Type = "token_revoked"           // a token was revoked
	Moved     Type = "workspace_moved"         // from now on, another App of the pool mints for the workspace
	Lost      Type = "token_lost"              // a token may be alive whose value is lost; it expires by itself
	Created   Type = "workspace_created"       // the workspace has a record now
	Destroyed Type = "workspace_destroyed"     // nothing of the workspace is left
)

// An Event is something that happened to a workspace or its tokens. It holds no secret:
// it names a token by its hash, in the form of GitHub's audit log.
type Event struct {
	Type         Type
	Workspace    string
	Owner        string
	Installation int64
	App          string // client ID of the App that minted the token
	Hash         string
	Expires      time.Time
	All          bool // every repository of the installation
	Repositories []string
	Permissions  map[string]string
	Why          string
	Err          error
}

// LogValue returns the event as slog attributes, without those that are not known.
func (e Event) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("workspace", e.Workspace)}
	for _, a := range []struct{ key, value string }{{"owner", e.Owner}, {"hashed_token", e.Hash}, {"reason", e.Why}} {
		if a.value != "" {
			attrs = append(attrs, slog.String(a.key, a.value))
		}
	}
	if e.App != "" {
		attrs = append(attrs, slog.String("app", e.App))
	}
	if e.Installation != 0 {
		attrs = append(attrs, slog.Int64("installation_id", e.Installation))
	}
	if !e.Expires.IsZero() {
		attrs = append(attrs, slog.Time("expires_at", e.Expires))
	}
	if e.All {
		attrs = append(attrs, slog.String("repository_selection", "all"))
	}
	if len(e.Repositories) > 0 {
		attrs = append(attrs, slog.Any("repositories", e.Repositories))
	}
	if len(e.Permissions) > 0 {
		attrs = append(attrs, slog.Any("permissions", e.Permissions))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.String("error", e.Err.Error()))
	}
	return slog.GroupValue(attrs...)
}
