package hooks

import (
	"bytes"
	"context"
	"io"
	"os"
	"path"
	"slices"
	"strings"
)

// PrePush is the event of the guard's hook.
const PrePush = "pre-push"

// Shimmed are the hooks that a directory of shims must contain: as core.hooksPath, it
// would silently disable the repository's own ones otherwise. With [Linked], it is
// every hook of githooks(5) except fsmonitor-watchman, which git finds by the path in
// core.fsmonitor and never in core.hooksPath.
var Shimmed = []string{
	"applypatch-msg", "pre-applypatch", "post-applypatch",
	"pre-commit", "pre-merge-commit", "prepare-commit-msg", "commit-msg", "post-commit",
	"pre-rebase", "post-checkout", "post-merge", PrePush, "pre-auto-gc", "post-rewrite",
	"sendemail-validate", "p4-changelist", "p4-prepare-changelist", "p4-post-changelist", "p4-pre-submit",
	"post-index-change", "reference-transaction",
	preReceive, "update", "post-receive", "post-update",
}

// Linked are the hooks whose existence alone changes what git does: without
// push-to-checkout git updates the work tree itself, and without proc-receive it
// refuses the refs meant for that hook. So each is a symbolic link to the hook that it
// hides. If there is no such hook, the link is broken, and git sees no hook.
var Linked = []string{"proc-receive", "push-to-checkout"}

const (
	preReceive = "pre-receive"
	shimMark   = "gatepass-pre-push"
)

// A Shim replaces a hook in the directory of shims and runs the hook that
// core.hooksPath hides: a link to the guard if Link says so, else a script. The shim of
// pre-push runs the guard, which then runs that hook.
type Shim struct {
	Guard string // absolute path of gatepass-pre-push
	Event string
	// Chain is the core.hooksPath that the directory of shims replaces, as written in
	// git's configuration. Empty means the repository's own hooks.
	Chain string
}

// Link reports whether the shim is a symbolic link to Guard, which git starts faster
// than a script. If the guard is missing, a linked hook does not exist. A script is
// needed for pre-push, which must then refuse; for a Chain, which a link cannot carry;
// and for pre-receive, which checks the links beside it.
func (s Shim) Link() bool {
	return s.Chain == "" && s.Event != PrePush && s.Event != preReceive
}

// Text returns the script. A guard that a link calls runs it too. It uses only what
// dash, busybox and bash share, and no variable that the environment could use for
// another purpose.
func (s Shim) Text() string {
	text := guardIs + quote(s.Guard) + "\n"
	if s.Event == PrePush {
		return text + guardLines
	}
	if s.Chain == "" {
		text += s.forEvent(ownLines)
	} else {
		text += hooksAre + tilde(s.Chain) + "\n"
	}
	if s.Event == preReceive {
		text += linkLines
	}
	return text + s.forEvent(runLines)
}

func (s Shim) forEvent(lines string) string { return strings.ReplaceAll(lines, "EVENT", s.Event) }

// ShimGuard returns the Guard of a text that Text wrote, in this version or another
// one. ok is false for any other text.
func ShimGuard(text string) (guard string, ok bool) {
	rest, ok := strings.CutPrefix(text, guardIs)
	line, _, _ := strings.Cut(rest, "\n")
	guard = unquote(line)
	return guard, ok && path.IsAbs(guard) && line == quote(guard)
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", quotedQuote) + "'" }

// unquote reverses quote.
func unquote(s string) string {
	return strings.ReplaceAll(strings.TrimSuffix(strings.TrimPrefix(s, "'"), "'"), quotedQuote, "'")
}

// tilde quotes a path, except for a "~" that git would expand, so that the shell
// expands it too.
func tilde(s string) string {
	user, rest, _ := strings.Cut(s, "/")
	if !strings.HasPrefix(user, "~") || strings.Trim(user[1:], userLetters) != "" {
		return quote(s)
	}
	return user + "/" + quote(rest)
}

const (
	guardIs     = "#!/bin/sh\n# Written by gatepass install, which also replaces and removes it.\ngatepass_guard="
	hooksAre    = "gatepass_hooks="
	quotedQuote = `'\''`
	userLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"
)

// GuardIsGone is the message of the pre-push shim when it refuses a push because there
// is no guard to run.
const GuardIsGone = "cannot be run; install gatepass again"

const guardLines = `# Judges the push and then runs the hook that core.hooksPath hides.
[ -x "$gatepass_guard" ] && exec "$gatepass_guard" --hook pre-push "$@"
printf 'gatepass: push denied: %s ` + GuardIsGone + `, or take out the core.hooksPath that "git config --show-origin core.hooksPath" shows\n' "$gatepass_guard" >&2
exit 1
`

// ownLines find the directory of the repository's own hooks. Git sets GIT_DIR for a
// hook wherever the git directory is not .git in the current directory, except for
// post-checkout of "git worktree add". If these lines find no directory, the guard
// does.
const ownLines = `gatepass_dir=${GIT_COMMON_DIR:-${GIT_DIR:-.git}}
if [ -f "$gatepass_dir" ]; then
	IFS= read -r gatepass_dir <"$gatepass_dir"
	gatepass_dir=${gatepass_dir#gitdir: }
fi
if [ -z "$GIT_COMMON_DIR" ] && [ -f "$gatepass_dir/commondir" ]; then
	IFS= read -r gatepass_common <"$gatepass_dir/commondir"
	case $gatepass_common in
	/*) gatepass_dir=$gatepass_common ;;
	*) gatepass_dir=$gatepass_dir/$gatepass_common ;;
	esac
fi
if [ ! -d "$gatepass_dir" ]; then
	[ -x "$gatepass_guard" ] && exec "$gatepass_guard" --hook EVENT "$@"
	exit 0
fi
gatepass_hooks=$gatepass_dir/hooks
gatepass_hooks=${gatepass_hooks#./}
`

// linkLines refuse a push if a link of [Linked] does not lead to its hook: in a linked
// worktree that is pushed to, and without /proc.
const linkLines = `for gatepass_link in proc-receive push-to-checkout; do
	if [ -x "$gatepass_hooks/$gatepass_link" ] && [ ! -x "${0%/*}/$gatepass_link" ]; then
		printf 'gatepass: push denied: the %s hook of this repository cannot run through core.hooksPath; run there: git config core.hooksPath "%s"\n' "$gatepass_link" "$(cd "$gatepass_hooks" && pwd)" >&2
		exit 1
	fi
done
`

// runLines do nothing if the hook calls this script again; see [mark].
const runLines = `# Runs the hook EVENT that core.hooksPath hides.
gatepass_hook=$gatepass_hooks/EVENT
[ -e "$gatepass_hook" ] || exit 0
if [ ! -x "$gatepass_hook" ]; then
	[ "$(git config --type=bool advice.ignoredHook)" = false ] ||
		printf 'hint: The %s hook was ignored because it is not set as executable.\n' "'$gatepass_hook'" >&2
	exit 0
fi
gatepass_depth=0
case ${GATEPASS_CHAIN-} in
"EVENT $PPID "* | "EVENT "*" $PPID "*) exit 0 ;;
"EVENT "*" "[1-7]) gatepass_depth=${GATEPASS_CHAIN##* } ;;
"EVENT "*)
	printf 'gatepass: run the EVENT hook: hooks call each other 8 deep\n' >&2
	exit 1
	;;
esac
export GATEPASS_CHAIN="EVENT $PPID $$ $((gatepass_depth + 1))"
exec "$gatepass_hook" "$@"
`

// LinkTarget returns the target of the link for a hook of [Linked], given a Shim's
// Chain: git looks for these hooks from within the git directory. ok is false if no
// link can lead there; the shim of pre-receive detects that case.
func LinkTarget(event, chain string) (target string, ok bool) {
	const current = "/proc/self/cwd"
	switch {
	case chain == "":
		return path.Join(current, "hooks", event), true
	case strings.HasPrefix(chain, "~"):
		return "", false
	case !path.IsAbs(chain):
		chain = current + "/" + chain // not cleaned: ".." is relative to the target of a link
	}
	return chain + "/" + event, true
}

// IsShim reports whether the file runs this program: a [Shim], or the program itself
// under the hook's name.
func IsShim(file string) bool {
	if target, err := os.Readlink(file); err == nil && path.Base(target) == shimMark {
		return true // maybe to another copy of it
	}
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	if isSelf(f) {
		return true
	}
	head := make([]byte, 4096)
	n, _ := io.ReadFull(f, head)
	head = head[:n]
	return bytes.HasPrefix(head, []byte(guardIs)) ||
		bytes.HasPrefix(head, []byte("#!")) && bytes.Contains(head, []byte(shimMark)) && bytes.Contains(head, []byte("--hook"))
}

func isSelf(f *os.File) bool {
	self, err := os.Executable()
	if err != nil {
		return false
	}
	mine, err1 := os.Stat(self)
	theirs, err2 := f.Stat()
	return err1 == nil && err2 == nil && os.SameFile(mine, theirs)
}

// IsShimmed reports whether event is one of [Shimmed].
func IsShimmed(event string) bool { return slices.Contains(Shimmed, event) }

// ThroughProgram reports whether the push that called this program reaches the remote
// through a program named in the settings or arguments, other than git-receive-pack.
// The path of the remote is then only an argument of that program, and the push may go
// anywhere.
func (r *Repository) ThroughProgram(remote string) bool {
	program, isSet := r.programs[remote]
	if isSet && !receivesHere(program) {
		return true
	}
	args, _ := pusher(r.above)
	for i, arg := range args {
		name, value, joined := strings.Cut(arg, "=")
		if !joined && i+1 < len(args) {
			value = args[i+1]
		}
		if namesProgram(name) && !receivesHere(value) {
			return true
		}
	}
	return false
}

// namesProgram reports whether an option of git push is, or may abbreviate,
// --receive-pack or --exec.
func namesProgram(option string) bool {
	return len(option) > len("--r") && (strings.HasPrefix("--receive-pack", option) || strings.HasPrefix("--exec", option))
}

// receivesHere reports whether a shell command runs git-receive-pack and contains
// nothing that the shell would expand.
func receivesHere(command string) bool {
	const plain = userLetters + "/=:, "
	words := strings.Fields(command)
	if len(words) == 0 || strings.Trim(command, plain) != "" {
		return false
	}
	name := path.Base(words[0])
	return name == "git-receive-pack" || name == "git" && len(words) > 1 && words[1] == "receive-pack"
}

// RunsConfigured reports whether git also runs this program as its configured hook (git
// 2.54 and later), as install configures it.
func (r *Repository) RunsConfigured(ctx context.Context) bool {
	program, ok := strings.CutSuffix(r.configured, " --configured")
	if !ok {
		return false
	}
	f, err := os.Open(unquote(program))
	if err != nil {
		return false
	}
	defer f.Close()
	if !isSelf(f) {
		return false
	}
	out, err := gitCommand(ctx, "hook", "list", PrePush).Output()
	return err == nil && slices.Contains(strings.Split(string(out), "\n"), "gatepass")
}
