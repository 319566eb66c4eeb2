package hooks

import (
	"errors"
	"slices"
)

// ErrMirror refuses a push that mirrors. Such a push deletes every remote ref
// that is not here, and git does not tell the hook about these deletions.
var ErrMirror = errors.New("a mirror push deletes refs that git does not show to hooks")

// Mirrors returns an error that wraps [ErrMirror] when the push that called
// this program mirrors: its arguments say so, which only Linux shows, or the
// settings of the remote do.
func (r *Repository) Mirrors(remote string) error {
	if args, ok := pusher(r.above); ok && asksForMirror(args) {
		return mirrorError{"push the refs you mean by name, without --mirror"}
	}
	if slices.Contains(r.mirrors, remote) {
		return mirrorError{"unset remote." + RedactURL(remote) + ".mirror and push the refs you mean by name"}
	}
	return nil
}

// mirrorError carries what the user can do.
type mirrorError struct{ do string }

func (e mirrorError) Error() string { return ErrMirror.Error() + "; " + e.do }
func (e mirrorError) Unwrap() error { return ErrMirror }
