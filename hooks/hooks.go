// Package hooks implements the pre-push guard: it reads the history behind a push from
// git, and replaces the hooks that a core.hooksPath of ours hides.
//
// Package refs decides on the push. Then the repository's own hook runs as if git had
// called it ([Hook]).
//
// The guard runs as the user it guards. It stops mistakes, not a determined program:
// "git push --no-verify" bypasses it.
package hooks
