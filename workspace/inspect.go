package workspace

import (
	"context"
	"errors"
	"iter"
	"strings"

	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
)

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
func Previews(ctx context.Context, s store.Store, id string, p *Profile) ([]Preview, error) {
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

// A Found is the record of one workspace, or the error of reading it: one line that
// says what to do.
type Found struct {
	ID     string
	Record *Record
	Err    error
}

// Reason returns Err without the workspace and the hint, for callers that add both.
func (f Found) Reason() error {
	if damage, ok := errors.AsType[damagedError](f.Err); ok {
		return damage
	}
	if later, ok := errors.AsType[laterError](f.Err); ok {
		return later
	}
	return f.Err
}

// Records yields the records of [store.Records], including those that cannot be read.
// It ends with the first error of the store.
func Records(ctx context.Context, s store.Store) iter.Seq2[Found, error] {
	return found(store.Records(ctx, s))
}

// found parses the records among entries.
func found(entries iter.Seq2[store.NamedEntry, error]) iter.Seq2[Found, error] {
	return func(yield func(Found, error) bool) {
		for entry, err := range entries {
			if err != nil && entry.Name.IsZero() {
				yield(Found{}, err)
				return
			}
			if !entry.Name.IsRecord() {
				continue
			}
			f := Found{}
			f.ID, _ = entry.Name.Workspace()
			f.Record, f.Err = readRecord(f.ID, entry.Entry, err)
			if !yield(f, nil) {
				return
			}
		}
	}
}
