package hooks

import (
	"context"
	"os"
	"path"
	"slices"
	"strings"
)

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

// JudgedByGit reports whether git also runs this program as its configured hook (git
// 2.54 and later), as install configures it.
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
