package credential

import "context"

type anewKey struct{}

// Anew returns the context of a request that no cache answers: its source is asked,
// and where that fails there is no token.
func Anew(ctx context.Context) context.Context { return context.WithValue(ctx, anewKey{}, true) }

// IsAnew reports whether a cache has to ask its source.
func IsAnew(ctx context.Context) bool { return ctx.Value(anewKey{}) != nil }
