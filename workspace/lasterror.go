package workspace

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/internal/usererr"
)

// A LastError is why the latest run could not do all that a record says. The next
// run that can removes it from the record.
type LastError struct {
	At  time.Time `json:"at"`
	Why string    `json:"error"` // one line of at most maxWhy bytes, without secrets
	// Foreign says that another system's token was left alone ([ErrForeign]), or is
	// kept to be revoked: the store has more tokens than the record tells.
	Foreign bool `json:"foreign,omitempty"`
	// Owners are the accounts, in lower case, whose tokens could not be minted.
	Owners []string `json:"owners,omitempty"`
}

// maxWhy bounds the text of a LastError, in bytes: stores limit the size of a record.
const maxWhy = 500

// conclude writes the outcome of a run into the record, and returns it. A run that
// was cut short, or left to a later pass, says nothing about the workspace and
// changes nothing.
func (i *Issuer) conclude(ctx context.Context, r *Record, why error) error {
	if errors.Is(why, ErrDeferred) || errors.Is(why, ErrBusy) || errors.Is(why, context.Canceled) || why == nil && (r.LastError == nil || r.keepsUnknown) {
		return why
	}
	r.LastError = nil
	if why != nil {
		slices.Sort(r.failed)
		r.LastError = &LastError{At: i.now(), Why: redact.Text(usererr.Escape(why.Error()), maxWhy), Foreign: errors.Is(why, ErrForeign) || r.keepsUnknown, Owners: slices.Compact(r.failed)}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpWait)
	defer cancel()
	err := i.save(ctx, r)
	if why != nil {
		return why // an error of the store would hide it
	}
	return err
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
