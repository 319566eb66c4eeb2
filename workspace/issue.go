package workspace

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/oneline"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
)

// defaultMargin is how long a token has to last to be left alone.
const defaultMargin = 15 * time.Minute

// cleanUpWait bounds what is tidied up after the caller has given up.
const cleanUpWait = 10 * time.Second

// An Issuer gives workspaces their tokens and takes them away. App and Store
// must be set. One run at a time may work on a workspace.
type Issuer struct {
	App   *mint.App
	Store store.Store

	// Installed are the App's installations; nil means those of the store.
	Installed func(ctx context.Context) ([]mint.Installation, error)
	Now       func() time.Time // nil means time.Now
	Margin    time.Duration    // 0 means a quarter of an hour
}

func (i *Issuer) now() time.Time {
	if i.Now == nil {
		return time.Now().UTC()
	}
	return i.Now().UTC()
}

func (i *Issuer) margin() time.Duration {
	if i.Margin == 0 {
		return defaultMargin
	}
	return i.Margin
}

func (i *Issuer) installed(ctx context.Context) ([]mint.Installation, error) {
	if i.Installed != nil {
		return i.Installed(ctx)
	}
	return StoredInstallations(ctx, i.Store)
}

// StoredInstallations reads the installations that the store knows: by login and
// id only.
func StoredInstallations(ctx context.Context, s store.Store) ([]mint.Installation, error) {
	var all []mint.Installation
	for name, err := range s.List(ctx, store.Installations()) {
		if err != nil {
			return nil, err
		}
		entry, err := s.Get(ctx, name)
		if err != nil {
			return nil, err
		}
		id, err := strconv.ParseInt(strings.TrimSpace(entry.Value.Reveal()), 10, 64)
		if err != nil || id <= 0 {
			return nil, oneline.New("read "+name.String(), "it is no installation's id", "run gatepass app discover")
		}
		login, _ := name.Owner()
		all = append(all, mint.Installation{ID: id, Account: mint.Account{Login: login}})
	}
	return all, nil
}

// Load reads a workspace's record. It wraps [store.ErrNotFound] where there is
// none.
func (i *Issuer) Load(ctx context.Context, id string) (*Record, error) {
	name, err := store.Record(id)
	if err != nil {
		return nil, err
	}
	entry, err := i.Store.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	r, err := ParseRecord([]byte(entry.Value.Reveal()))
	if err == nil && r.ID != id {
		err = fmt.Errorf("the ledger record is of workspace %s", r.ID)
	}
	if err != nil {
		return nil, oneline.Wrap("read workspace "+id, err, "")
	}
	return r, nil
}

// save writes the record. What is dead for long is left out.
func (i *Issuer) save(ctx context.Context, r *Record) error {
	r.Tokens = slices.DeleteFunc(r.Tokens, func(t Token) bool {
		return t.State == Revoked && i.now().Sub(t.Changed) > tokenLife
	})
	name, err := store.Record(r.ID)
	if err != nil {
		return err
	}
	data, err := r.Encode()
	if err != nil {
		return err
	}
	return i.Store.Put(ctx, name, store.NewSecret(string(data)), store.Replace)
}

// change writes a token's next state.
func (i *Issuer) change(ctx context.Context, r *Record, at int, state State, note string) error {
	r.Tokens[at].State, r.Tokens[at].Changed, r.Tokens[at].Note = state, i.now(), note
	return i.save(ctx, r)
}

// Create gives the workspace what the profile says, or finishes what an earlier
// run began. The record is written first, so that a workspace whose tokens
// cannot be had now heals by a later run; then it returns the record and the
// error.
func (i *Issuer) Create(ctx context.Context, id string, p *Profile) (*Record, error) {
	r, err := i.Load(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		r = &Record{ID: id, Created: i.now()}
	case err != nil:
		return nil, err
	case r.Destroying:
		return r, oneline.New("create workspace "+id, "it is being destroyed", "finish that first: gatepass workspace destroy "+id)
	}
	r.Profile, r.Repositories, r.Permissions = p.Name, p.Repositories, p.Permissions
	if err := i.save(ctx, r); err != nil {
		return nil, err
	}
	_, err = i.settle(ctx, r)
	return r, err
}

// settle does what Plan says, so that the workspace has what its record says.
func (i *Issuer) settle(ctx context.Context, r *Record) (lost []Token, err error) {
	var installed []mint.Installation
	if len(r.Repositories) > 0 && !r.Destroying {
		if installed, err = i.installed(ctx); err != nil {
			return nil, err
		}
	}
	held, err := i.hold(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	steps := Plan(r, held.hashes, Want{Owners: ownersOf(r.Repositories, installed), Now: i.now(), Margin: i.margin()})
	var grants []mint.OwnerGrant
	for _, s := range steps {
		if s.Do == Mint && grants == nil {
			if grants, err = i.App.Resolve(ctx, r.Repositories, r.Permissions, installed); err != nil {
				return held.lost, err
			}
		}
		if err := i.step(ctx, r, held, s, grants); err != nil {
			return held.lost, err
		}
	}
	return held.lost, i.copyOnly(ctx, r, held)
}

// ownersOf are the accounts that patterns name; "*" names every installation's.
func ownersOf(patterns []mint.Pattern, installed []mint.Installation) []string {
	var owners []string
	for _, p := range patterns {
		if p.Everything() {
			for _, in := range installed {
				if !in.Suspended() {
					owners = append(owners, strings.ToLower(in.Account.Login))
				}
			}
			continue
		}
		owners = append(owners, p.Owner())
	}
	slices.Sort(owners)
	return slices.Compact(owners)
}

// step does one step of a plan.
func (i *Issuer) step(ctx context.Context, r *Record, held *holdings, s Step, grants []mint.OwnerGrant) error {
	at := slices.IndexFunc(r.Tokens, func(t Token) bool {
		return strings.EqualFold(t.Owner, s.Owner) && t.Hash == s.Hash && t.State != Revoked
	})
	switch s.Do {
	case Adopt:
		return i.change(ctx, r, at, Delivered, "")
	case Mint:
		at := slices.IndexFunc(grants, func(g mint.OwnerGrant) bool { return strings.EqualFold(g.Owner, s.Owner) })
		if at < 0 {
			return fmt.Errorf("repositories of %s: nothing was resolved for them", s.Owner)
		}
		return i.mint(ctx, r, held, grants[at])
	case Abandon:
		if t := r.Tokens[at]; t.State != Planned && t.DiesBy().After(i.now()) {
			held.lost = append(held.lost, t)
		}
	case Revoke:
		if err := i.App.Revoke(ctx, held.tokens[s.Owner]); err != nil {
			return err
		}
	}
	// The ledger first: were the token gone from the store, the next run would
	// take it for one that was lost alive.
	if at >= 0 {
		if err := i.change(ctx, r, at, Revoked, s.Why); err != nil {
			return err
		}
	}
	if s.Do == Abandon {
		return nil
	}
	return held.drop(ctx, i.Store, r.ID, s.Owner)
}

// mint makes and delivers one owner's token. The ledger is told before each
// step.
func (i *Issuer) mint(ctx context.Context, r *Record, held *holdings, g mint.OwnerGrant) error {
	name, err := store.Token(r.ID, g.Owner)
	if err != nil {
		return err
	}
	at := len(r.Tokens)
	r.Tokens = append(r.Tokens, Token{Owner: g.Owner, Installation: g.Grant.Installation})
	if err := i.change(ctx, r, at, Minting, ""); err != nil {
		return err
	}
	at = len(r.Tokens) - 1 // save may have left out what is dead
	m, err := i.App.MintOwner(ctx, g)
	if err != nil {
		if e, ok := errors.AsType[*mint.Error](err); ok && e.Kind != mint.Unavailable {
			return oneline.Join(err, i.change(ctx, r, at, Revoked, "GitHub refused it"))
		}
		return err
	}
	r.Tokens[at].Hash, r.Tokens[at].Expires = m.Token.Hash(), m.Token.Expiry.UTC()
	if err = i.change(ctx, r, at, Minted, ""); err == nil {
		at = len(r.Tokens) - 1
		err = i.Store.Put(ctx, name, store.NewSecret(m.Token.Secret()), store.Replace)
	}
	if err != nil {
		return i.undo(ctx, r, at, name, m.Token, err)
	}
	held.tokens[strings.ToLower(g.Owner)] = m.Token
	return i.change(ctx, r, at, Delivered, "")
}

// undo ends a token that could not be recorded or delivered, also for a caller
// that has given up. What fails here is left to the next run.
func (i *Issuer) undo(ctx context.Context, r *Record, at int, name store.Name, token credential.Token, why error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpWait)
	defer cancel()
	if i.App.Revoke(ctx, token) != nil {
		return why
	}
	if entry, err := i.Store.Get(ctx, name); err == nil && entry.Value.Reveal() == token.Secret() {
		if i.Store.Delete(ctx, name) != nil {
			return why
		}
	}
	_ = i.change(ctx, r, at, Revoked, "it could not be delivered")
	return why
}
