package store

import "context"

type urgentKey struct{}

// Urgently returns a context for calls of a store that go before others: a block, and the
// looks that find it. A store that takes few calls a second lets other calls wait meanwhile.
func Urgently(ctx context.Context) context.Context {
	return context.WithValue(ctx, urgentKey{}, true)
}

// IsUrgent reports whether ctx is of [Urgently], or made of one.
func IsUrgent(ctx context.Context) bool { return ctx.Value(urgentKey{}) != nil }
