package credential

import "context"

type anewKey struct{}

// Anew returns a context for a request that must not be answered from a cache: the
// source is asked and, if that fails, there is no token.
func Anew(ctx context.Context) context.Context { return context.WithValue(ctx, anewKey{}, true) }

// IsAnew reports whether a cache must ask its source.
func IsAnew(ctx context.Context) bool { return ctx.Value(anewKey{}) != nil }
