package hooks

import (
	"path/filepath"
	"strings"
)

// A process is one ancestor of this program.
type process struct {
	pid  int
	argv []string
}

// isGit reports whether p is a git that may call hooks: git itself, or git-push.
func (p process) isGit() bool {
	return len(p.argv) > 0 && (p.program() == "git" || p.program() == "git-push")
}

// isLikeGit reports whether p has a name that wrappers give the real git, such as
// git.real or .git-wrapped.
func (p process) isLikeGit() bool {
	return p.isGit() || len(p.argv) > 0 && (strings.HasPrefix(p.program(), "git.") || strings.HasPrefix(p.program(), ".git"))
}

func (p process) program() string {
	return strings.TrimSuffix(filepath.Base(p.argv[0]), ".exe")
}

// pushArguments returns what follows "push" in the arguments of a git push; ok is false
// if p is another program. Aliases need no handling: git runs the aliased command as a
// separate process.
func (p process) pushArguments() (args []string, ok bool) {
	if !p.isLikeGit() {
		return nil, false
	}
	if p.program() == "git-push" {
		return p.argv[1:], true
	}
	args = p.argv[1:]
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		skip := 1
		if takesValue[args[0]] {
			skip = 2
		}
		args = args[min(skip, len(args)):]
	}
	if len(args) == 0 || args[0] != "push" {
		return nil, false
	}
	return args[1:], true
}

// takesValue are the options of git itself, before the command, whose value is a
// separate argument (git(1)).
var takesValue = map[string]bool{
	"-C": true, "-c": true, "--git-dir": true, "--work-tree": true, "--namespace": true,
	"--super-prefix": true, "--shallow-file": true, "--config-env": true, "--attr-source": true,
}

// asksForMirror reports whether the arguments of a git push contain --mirror. Git
// accepts every unambiguous abbreviation. No other argument of a push starts like that,
// except a value such as that of --push-option; refusing those too is the safe choice.
func asksForMirror(args []string) bool {
	for _, arg := range args {
		if len(arg) > len("--") && strings.HasPrefix("--mirror", arg) {
			return true
		}
	}
	return false
}

// pusher returns the arguments of the nearest git push above this process.
func pusher(above []process) (args []string, ok bool) {
	for _, p := range above {
		if args, ok := p.pushArguments(); ok {
			return args, true
		}
	}
	return nil, false
}

// nearestGit returns the process id of the git that called this program, or the
// parent's if it cannot be found.
func nearestGit(above []process, parent int) int {
	for _, p := range above {
		if p.isGit() {
			return p.pid
		}
	}
	return parent
}
