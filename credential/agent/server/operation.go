package server

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"path"
	"strconv"
	"strings"
	"syscall"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/protocol"
)

const (
	read   = protocol.OperationRead
	write  = protocol.OperationWrite
	forAPI = protocol.OperationAPI

	// either is the agent's operation for a request that may be for reading or for
	// writing. No source sees it: [orRead] replaces it by one of the others.
	either = "either"

	maxAncestors = 16
)

// gitOperation reports whether the git that called, through the process pid, is about
// to read or to write. It checks the nearest git command above pid, in /proc. A git
// that talks to a server and does not push is reading. If another program only asks git
// for a credential, the operation is unknown.
func gitOperation(pid int) string {
	var buf [maxProc]byte
	talks := false
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
			switch command, args := commandOf(argv); {
			case isRemoteHelper(command):
				talks = true
			case operationOf(command, args) != "":
				return operationOf(command, args)
			case talks && command != "" && !strings.HasPrefix(command, "credential"):
				return read
			}
		}
		pid = parent
	}
	return either
}

// mayDecide skips processes whose command line does not show what git is doing, to save
// reading it. The kernel cuts names at 15 bytes.
func mayDecide(name string) bool {
	return strings.Contains(name, "git") && !strings.HasPrefix(name, "git-credential")
}

// isRemoteHelper reports whether a git command talks to a server over https on behalf
// of another command.
func isRemoteHelper(command string) bool {
	return command == "remote-https" || command == "remote-http"
}

// maxProc is how much of a process's file is read, in bytes: git's command and its
// options come early.
const maxProc = 4 << 10

// readProc reads the start of a process's file. os.ReadFile makes three times as many
// system calls, and a warm answer waits for about nine such files.
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

// readArguments returns the words of a process's command line, without a last one that
// may be cut short.
func readArguments(buf *[maxProc]byte, pid int) ([]string, error) {
	text, err := readProc(buf, pid, "cmdline")
	if len(text) == maxProc {
		text = text[:max(bytes.LastIndexByte(text, 0), 0)]
	}
	return strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00"), err
}

// parentOf returns the parent's id; 0 if it cannot be read.
func parentOf(buf *[maxProc]byte, pid int) int {
	_, parent := nameAndParent(buf, pid)
	return parent
}

// nameAndParent reads a process's name and its parent's id from /proc/PID/stat, "PID
// (NAME) STATE PARENT …", where the name may contain any character.
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

// commandOf returns the git command of a command line, and its arguments; "" if it is
// not a git command.
func commandOf(argv []string) (command string, args []string) {
	name, args := path.Base(argv[0]), argv[1:]
	if command, ok := strings.CutPrefix(name, "git-"); ok {
		return command, args
	}
	if args = afterOptions(args); name != "git" || len(args) == 0 {
		return "", nil
	}
	return args[0], args[1:]
}

// operationOf returns read, write, either, or "" if the command does not tell.
func operationOf(command string, args []string) string {
	switch command {
	case "push", "send-pack", "http-push":
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
	case "push", "pre-push":
		return write
	}
	return either
}

// An orRead is a Source that answers a request for either operation with a token for
// writing or, if that is refused, with one for reading. The first allows whatever the
// caller is about to do; the second, what the workspace may do.
type orRead struct{ credential.Source }

func (o orRead) Token(ctx context.Context, req credential.Request) (credential.Token, error) {
	if req.Operation != either {
		return o.Source.Token(ctx, req)
	}
	req.Operation = write
	tok, err := o.Source.Token(ctx, req)
	if problem, ok := errors.AsType[api.Problem](err); !ok || problem.Status != http.StatusForbidden {
		return tok, err
	}
	req.Operation = read
	if tok, readErr := o.Source.Token(ctx, req); readErr == nil {
		return tok, nil
	}
	return credential.Token{}, err
}

// operations returns the operations for which a request for op may have got a token.
func operations(op string) []string {
	if op == either {
		return []string{write, read}
	}
	return []string{op}
}

// afterOptions skips git's own options, including those whose value is a separate
// argument.
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
