package workspace

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gatepass/gatepass/internal/oneline"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
)

// schema is the version of the ledger record's form. A record of a later
// version is refused: acting on half of it could leave tokens alive.
const schema = 1

// A Record is a workspace's page of the ledger: what it may have and every
// token it has been given. It holds no secrets. It is written before each step
// that leaves something behind, so that the next run can finish or undo it.
type Record struct {
	ID      string
	Profile string // the profile's name, for people
	// What every new token is to open. Patterns are resolved anew each time:
	// installations and repositories change.
	Repositories []mint.Pattern
	Permissions  mint.Permissions
	Created      time.Time
	Destroying   bool // destroy has begun; nothing is minted any more
	Tokens       []Token
}

// State is how far a token has come. Each is written before the step after it.
type State string

// The states, in their order.
const (
	Planned   State = "planned"   // somebody means to mint it
	Minting   State = "minting"   // GitHub may have been asked; the token may be alive unseen
	Minted    State = "minted"    // it is alive; it may have been delivered
	Delivered State = "delivered" // the workspace can read it
	Revoked   State = "revoked"   // it is dead, or lost and left to run out
)

// states knows the rank of each.
var states = []State{Planned, Minting, Minted, Delivered, Revoked}

// A Token is one token in the ledger. A token is known by its hash.
type Token struct {
	Owner        string    `json:"owner"`
	Installation int64     `json:"installation,omitempty"` // from Minting on
	State        State     `json:"state"`
	Hash         string    `json:"hash,omitempty"`   // base64(sha256(token)), from Minted on
	Expires      time.Time `json:"expires,omitzero"` // from Minted on; as GitHub says
	Changed      time.Time `json:"changed"`          // when State was written
	Note         string    `json:"note,omitempty"`   // why it ended, where that is not plain
}

// DiesBy returns when the token is dead at the latest without anybody's help.
// A token that was being minted is given GitHub's hour.
func (t Token) DiesBy() time.Time {
	switch {
	case t.State == Minting:
		return t.Changed.Add(tokenLife)
	case t.State == Minted || t.State == Delivered:
		return t.Expires
	}
	return t.Changed
}

// tokenLife is how long GitHub's installation tokens live, with room for a
// clock that is off.
const tokenLife = time.Hour + 5*time.Minute

// file is a Record as JSON.
type file struct {
	Schema       int               `json:"schema"`
	ID           string            `json:"id"`
	Profile      string            `json:"profile,omitempty"`
	Repositories []string          `json:"repositories"`
	Permissions  map[string]string `json:"permissions"`
	Created      time.Time         `json:"created"`
	Destroying   bool              `json:"destroying,omitempty"`
	Tokens       []Token           `json:"tokens"`
}

// Encode returns the record as JSON, unless ParseRecord would refuse it.
func (r *Record) Encode() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("the record of workspace %s: %w", r.ID, err)
	}
	f := file{
		Schema: schema, ID: r.ID, Profile: r.Profile, Permissions: r.Permissions.Levels(),
		Created: r.Created.UTC(), Destroying: r.Destroying, Tokens: r.Tokens,
	}
	for _, p := range r.Repositories {
		f.Repositories = append(f.Repositories, p.String())
	}
	return json.Marshal(f)
}

// ParseRecord reads what Encode wrote.
func ParseRecord(data []byte) (*Record, error) {
	var version struct {
		Schema int `json:"schema"`
	}
	if err := json.Unmarshal(data, &version); err != nil {
		return nil, errors.New("the ledger record is no JSON")
	}
	if version.Schema != schema {
		return nil, fmt.Errorf("the ledger record is of version %d, and this gatepass knows %d", version.Schema, schema)
	}
	var f file
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return nil, fmt.Errorf("the ledger record: %w", err)
	}
	r := &Record{
		ID: f.ID, Profile: f.Profile, Permissions: mint.PermissionLevels(f.Permissions),
		Created: f.Created, Destroying: f.Destroying, Tokens: f.Tokens,
	}
	for _, text := range f.Repositories {
		p, err := mint.ParsePattern(text)
		if err != nil {
			return nil, fmt.Errorf("the ledger record: %w", err)
		}
		r.Repositories = append(r.Repositories, p)
	}
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("the ledger record: %w", err)
	}
	return r, nil
}

func (r *Record) check() error {
	bad := []error{store.CheckWorkspace(r.ID)}
	if len(r.Repositories) > 0 {
		// Levels is empty for "all", too, which no profile can say.
		bad = append(bad, mint.PermissionLevels(r.Permissions.Levels()).Validate())
	}
	for _, t := range r.Tokens {
		bad = append(bad, t.check())
	}
	return oneline.Join(bad...)
}

func (t Token) check() error {
	known := t.State == Minted || t.State == Delivered
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
