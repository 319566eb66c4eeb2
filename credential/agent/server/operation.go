package server

import (
	"bytes"
	"path"
	"strconv"
	"strings"
	"syscall"

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
	var buf [maxProc]byte
	for range maxAncestors {
		if pid <= 1 {
			break
		}
		name, parent := nameAndParent(&buf, pid)
		if mayDecide(name) {
			argv, err := readArguments(&buf, pid)
			if err != nil {
				break
			}
			if op := commandOperation(argv); op != "" {
				return op
			}
		}
		pid = parent
	}
	return write
}

// mayDecide passes over the processes whose command line says nothing of what
// git is doing, to save reading it. The kernel cuts names at 15 bytes.
func mayDecide(name string) bool {
	return strings.Contains(name, "git") && !strings.HasPrefix(name, "git-remote-") && !strings.HasPrefix(name, "git-credential")
}

// maxProc is how much of a file of a process is read: git's command and its
// options come early.
const maxProc = 4 << 10

// readProc reads the beginning of a file of a process. os.ReadFile makes three
// times the system calls, and a warm answer waits for about nine such files.
func readProc(buf *[maxProc]byte, pid int, name string) ([]byte, error) {
	fd, err := syscall.Open("/proc/"+strconv.Itoa(pid)+"/"+name, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer syscall.Close(fd)
	for {
		n, err := syscall.Read(fd, buf[:])
		if err != syscall.EINTR {
			return buf[:max(n, 0)], err
		}
	}
}

// readArguments returns the words of a process' command line, without one that
// would be cut short.
func readArguments(buf *[maxProc]byte, pid int) ([]string, error) {
	text, err := readProc(buf, pid, "cmdline")
	if len(text) == maxProc {
		text = text[:max(bytes.LastIndexByte(text, 0), 0)]
	}
	return strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00"), err
}

// parentOf returns the parent's id, and 0 where it cannot be read.
func parentOf(buf *[maxProc]byte, pid int) int {
	_, parent := nameAndParent(buf, pid)
	return parent
}

// nameAndParent reads a process' name and its parent's id from /proc/PID/stat,
// "PID (NAME) STATE PARENT …", where the name may contain anything.
func nameAndParent(buf *[maxProc]byte, pid int) (name string, parent int) {
	stat, err := readProc(buf, pid, "stat")
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if err != nil || open < 0 || end < open {
		return "", 0
	}
	fields := strings.Fields(string(stat[end+1:]))
	if len(fields) < 2 {
		return "", 0
	}
	parent, err = strconv.Atoi(fields[1])
	if err != nil {
		return "", 0
	}
	return string(stat[open+1 : end]), parent
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
