package hooks

import (
	"context"
	"os"
	"path"
	"slices"
	"strings"
)

// ThroughProgram reports whether the push that called this program reaches the
// remote by a program that the settings or arguments name, other than git's own
// receiving side. Then a path is only what that program is given, and it may go
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

// namesProgram reports whether an option of git push is --receive-pack or
// --exec, or may be an abbreviation of them.
func namesProgram(option string) bool {
	return len(option) > len("--r") && (strings.HasPrefix("--receive-pack", option) || strings.HasPrefix("--exec", option))
}

// receivesHere reports whether a shell that is given command runs git's own
// receiving side, without anything that it would expand.
func receivesHere(command string) bool {
	const plain = userLetters + "/=:, "
	words := strings.Fields(command)
	if len(words) == 0 || strings.Trim(command, plain) != "" {
		return false
	}
	name := path.Base(words[0])
	return name == "git-receive-pack" || name == "git" && len(words) > 1 && words[1] == "receive-pack"
}

// JudgedByGit reports whether git runs this program as its configured hook as
// well (git 2.54 and later), as install writes it.
func (r *Repository) JudgedByGit(ctx context.Context) bool {
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
