package hooks

import (
	"bytes"
	"io"
	"os"
	"slices"
	"strings"
)

// PrePush is the hook that guards.
const PrePush = "pre-push"

// ClientHooks are the hooks a directory of shims must hold, lest setting it as
// core.hooksPath silently turns off the repository's own (githooks(5)).
//
// The hooks of the receiving side are left out, and so are
// reference-transaction and fsmonitor-watchman: that they exist is enough to
// change what git does, or to make it start a program for every ref.
var ClientHooks = []string{
	"applypatch-msg", "pre-applypatch", "post-applypatch",
	"pre-commit", "pre-merge-commit", "prepare-commit-msg", "commit-msg", "post-commit",
	"pre-rebase", "post-checkout", "post-merge", PrePush, "pre-auto-gc", "post-rewrite",
	"sendemail-validate", "p4-changelist", "p4-prepare-changelist", "p4-post-changelist", "p4-pre-submit",
	"post-index-change",
}

const shimMark = "gatepass-pre-push"

// Shim returns the script that stands for event in the directory of shims. The
// binary is an absolute path.
func Shim(binary, event string) []byte {
	quoted := "'" + strings.ReplaceAll(binary, "'", `'\''`) + "'"
	return []byte("#!/bin/sh\nexec " + quoted + " --hook " + event + ` "$@"` + "\n")
}

// IsShim reports whether the file leads back to this program: a [Shim], or
// the program itself under the hook's name.
func IsShim(path string) bool {
	f, err := os.Open(path)
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
	return bytes.HasPrefix(head, []byte("#!")) && bytes.Contains(head, []byte(shimMark)) && bytes.Contains(head, []byte("--hook"))
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

// IsClientHook reports whether event is one of [ClientHooks].
func IsClientHook(event string) bool { return slices.Contains(ClientHooks, event) }
