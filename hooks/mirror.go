package hooks

import (
	"context"
	"errors"
	"slices"
)

// ErrMirror refuses a push that mirrors. Such a push deletes every remote ref
// that is not here, and git does not tell the hook about these deletions.
var ErrMirror = errors.New("a mirror push deletes refs that git does not show to hooks")

// Mirrors returns an error that wraps [ErrMirror] when the push that called
// this program mirrors: its arguments say so (seen on Linux only), or the
// remote's settings do. Any other error says that the settings cannot be read.
func Mirrors(ctx context.Context, remote string) error {
	if args, ok := pusher(ancestors()); ok && asksForMirror(args) {
		return mirrorError{"push the refs you mean by name, without --mirror"}
	}
	s, err := readSettings(ctx)
	if err != nil {
		return err
	}
	if slices.Contains(s.mirrors, remote) {
		return mirrorError{"unset remote." + RedactURL(remote) + ".mirror and push the refs you mean by name"}
	}
	return nil
}

// mirrorError carries what the user can do.
type mirrorError struct{ do string }

func (e mirrorError) Error() string { return ErrMirror.Error() + "; " + e.do }
func (e mirrorError) Unwrap() error { return ErrMirror }
