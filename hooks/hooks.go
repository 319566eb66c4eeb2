// Package hooks is the inside of the pre-push guard: it reads what git's history says of
// a push, and stands in for the hooks it displaces by being installed as core.hooksPath.
//
// Package refs decides about the push. Then the repository's own hook runs as if git had
// called it ([Hook]).
//
// The guard runs as the user it guards. It stops mistakes, not a determined program:
// "git push --no-verify" passes it.
package hooks
