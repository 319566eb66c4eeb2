//go:build unix

package config

import (
	"fmt"
	"os"
	"syscall"

	"github.com/gatepass/gatepass/internal/oneline"
)

// CheckOwner returns an error unless only root or this user can change the
// file: it belongs to one of them and is not writable by group or others. A
// file that is absent is no error; [Load] says so better.
//
// In an image, root owns the file, and so nothing that runs in the workspace
// as another user can widen it.
func CheckOwner(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return nil
	}
	what := "trust the workspace file " + path
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return oneline.New(what, fmt.Sprintf("others can write to it (mode %04o)", mode), "chmod go-w it")
	}
	owner := info.Sys().(*syscall.Stat_t).Uid
	if owner != 0 && int(owner) != os.Geteuid() {
		return oneline.New(what, fmt.Sprintf("it belongs to user %d, who is neither root nor you", owner), "chown it to root")
	}
	return nil
}
