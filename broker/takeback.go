package broker

import (
	"context"
	"sync"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/usererr"
)

// TakeBack revokes tokens that were minted and given to no workspace, so that the
// store has none of them. One that cannot be revoked yet is kept in memory, and
// tried again by Retry until it ends.
type TakeBack struct {
	// Revoke ends a token; see [mint.App.Revoke].
	Revoke func(context.Context, credential.Token) error
	// Revoked is told of each token that Retry revoked; nil means that it is not.
	Revoked func(credential.Token)
	Now     func() time.Time // nil means time.Now

	mu      sync.Mutex // guards pending
	pending map[credential.ID]credential.Token
}

func (b *TakeBack) now() time.Time {
	if b.Now == nil {
		return time.Now()
	}
	return b.Now()
}

// Take revokes a token. Where it returns an error, Retry tries again.
func (b *TakeBack) Take(ctx context.Context, t credential.Token) error {
	err := b.Revoke(ctx, t)
	if err != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.pending == nil {
			b.pending = map[credential.ID]credential.Token{}
		}
		b.pending[t.ID()] = t
	}
	return err
}

// Retry revokes what could not be revoked before.
func (b *TakeBack) Retry(ctx context.Context) error {
	b.mu.Lock()
	var tokens []credential.Token
	for key, t := range b.pending {
		if !t.Expiry.After(b.now()) {
			delete(b.pending, key)
			continue
		}
		tokens = append(tokens, t)
	}
	b.mu.Unlock()
	var errs []error
	for _, t := range tokens {
		if err := b.Revoke(ctx, t); err != nil {
			errs = append(errs, err)
			continue
		}
		b.mu.Lock()
		delete(b.pending, t.ID())
		b.mu.Unlock()
		if b.Revoked != nil {
			b.Revoked(t)
		}
	}
	return usererr.Join(errs...)
}
