package server

import (
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/gatepass/gatepass/credential/protocol"
)

const (
	read  = protocol.OperationRead
	write = protocol.OperationWrite

	maxAncestors = 16
)

// gitOperation says whether the git that asked, by way of the process pid, is
// about to read or to write. It looks at the nearest git command above pid, in
// /proc. What it does not know is a write, so that a push never gets a token
// that cannot push.
func gitOperation(pid int) string {
	for range maxAncestors {
		if pid <= 1 {
			break
		}
		argv, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
		if err != nil {
			break
		}
		if op := commandOperation(strings.Split(strings.TrimSuffix(string(argv), "\x00"), "\x00")); op != "" {
			return op
		}
		pid = parentOf(pid)
	}
	return write
}

// parentOf reads the parent's id from /proc/PID/stat, whose second field, the
// program's name in parentheses, may contain anything.
func parentOf(pid int) int {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	_, rest, _ := cutLastParen(string(stat))
	fields := strings.Fields(rest)
	if len(fields) < 2 {
		return 0
	}
	parent, err := strconv.Atoi(fields[1])
	if err != nil {
		return 0
	}
	return parent
}

func cutLastParen(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, ')')
	if i < 0 {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}

// commandOperation is read, write, or "" for a command that only passes
// requests on (git remote-https, sh, git credential).
func commandOperation(argv []string) string {
	name := path.Base(argv[0])
	args := argv[1:]
	switch {
	case name == "git":
		args = afterOptions(args)
		if len(args) == 0 {
			return ""
		}
		name, args = args[0], args[1:]
	case strings.HasPrefix(name, "git-"):
		name = strings.TrimPrefix(name, "git-")
	default:
		return ""
	}
	switch name {
	case "push", "send-pack":
		return write
	case "fetch", "clone", "pull", "ls-remote", "fetch-pack", "archive", "submodule":
		return read
	case "lfs":
		return lfsOperation(args)
	}
	return ""
}

func lfsOperation(args []string) string {
	if len(args) == 0 {
		return ""
	}
	switch args[0] {
	case "fetch", "pull", "clone", "smudge", "filter-process", "checkout":
		return read
	}
	return write
}

// afterOptions skips git's own options, those with a separate value included.
func afterOptions(args []string) []string {
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		switch args[0] {
		case "-C", "-c", "--git-dir", "--work-tree", "--namespace", "--super-prefix", "--config-env", "--attr-source":
			if len(args) < 2 {
				return nil
			}
			args = args[1:]
		}
		args = args[1:]
	}
	return args
}
