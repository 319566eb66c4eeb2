package mint

import (
	"context"
	"slices"
	"sync"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/usererr"
)

// owed are the tokens that an App with Once could not take back yet. They are in
// memory only: after a restart they run out by themselves.
type owed struct {
	mu     sync.Mutex // guards tokens
	tokens []credential.Token
}

func (o *owed) add(tokens ...credential.Token) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tokens = append(o.tokens, tokens...)
}

// take empties it.
func (o *owed) take() []credential.Token {
	o.mu.Lock()
	defer o.mu.Unlock()
	tokens := o.tokens
	o.tokens = nil
	return tokens
}

// Owed returns how many tokens an App with Once made that must not be used and are not
// revoked yet.
func (a *App) Owed() int {
	a.owed.mu.Lock()
	defer a.owed.mu.Unlock()
	return len(a.owed.tokens)
}

// Settle revokes the tokens that [App.TakeBack] could not. It returns the errors of
// those that remain, joined; the caller comes again later. Tokens that have run out are
// forgotten.
func (a *App) Settle(ctx context.Context) error {
	var failed []error
	left := slices.DeleteFunc(a.owed.take(), func(t credential.Token) bool {
		if !t.Expiry.After(a.Time()) {
			return true
		}
		err := a.revokeWithin(ctx, t)
		failed = append(failed, err)
		return err == nil
	})
	a.owed.add(left...)
	return usererr.Join(failed...)
}
