package hooks

import (
	"errors"
	"slices"
)

// ErrMirror refuses a mirror push. Such a push deletes every remote ref that does not
// exist locally, and git does not report these deletions to the hook.
var ErrMirror = errors.New("a mirror push deletes refs that git does not show to hooks")

// Mirrors returns an error that wraps [ErrMirror] if the push that called this program
// is a mirror push, according to its arguments, which are visible only on Linux, or to
// the remote's settings.
func (r *Repository) Mirrors(remote string) error {
	if args, ok := pusher(r.above); ok && asksForMirror(args) {
		return mirrorError{"push the refs you mean by name, without --mirror"}
	}
	if slices.Contains(r.mirrors, remote) {
		return mirrorError{"unset remote." + RedactURL(remote) + ".mirror and push the refs you mean by name"}
	}
	return nil
}

// mirrorError adds what the user can do.
type mirrorError struct{ do string }

func (e mirrorError) Error() string { return ErrMirror.Error() + "; " + e.do }
func (e mirrorError) Unwrap() error { return ErrMirror }
