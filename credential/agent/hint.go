package agent

import (
	"os"
	"strconv"
	"syscall"
)

// Only the agent knows which variables a source reads, because it reads the workspace
// file. So it leaves a symbolic link beside its socket whose target names them; reading
// it costs the helper one system call. If the link is missing or wrong, no caller gets
// another's token: a call carries its identity, and the agent knows what its source
// reads.

// hintPath is the path of the link for a workspace file. If two files share one by
// chance, the only effect is more agents than needed.
func hintPath(directory, config string) string { return directory + "/" + configKey(config) + ".reads" }

// hinted returns the groups of variables that the source of a workspace file reads,
// according to the hint; all groups if there is none.
func hinted(directory, config string) string {
	var target [len(readsAll) + 2]byte
	n, err := syscall.Readlink(hintPath(directory, config), target[:])
	if err != nil || n < 1 || n > len(readsAll)+1 || target[0] != noReads[0] {
		return readsAll
	}
	return string(target[1:n])
}

// noReads starts a link's target, which must not be empty.
const noReads = "-"

// Settle is like Locate, for an agent that knows what the source of its workspace file
// reads. It leaves the hint for callers.
func Settle(config, reads string, getenv func(string) string) (Place, error) {
	p, err := Locate(config, getenv)
	if err != nil || p.Reads == reads {
		return p, err
	}
	if err := Hint(p.Directory, config, reads); err != nil {
		return Place{}, err
	}
	return Locate(config, getenv)
}

// Hint tells later callers what the source of a workspace file reads.
func Hint(directory, config, reads string) error {
	path := hintPath(directory, config)
	fresh, err := beside(path)
	if err != nil {
		return err
	}
	if err := os.Symlink(noReads+reads, fresh); err != nil {
		return err
	}
	if err := os.Rename(fresh, path); err != nil {
		_ = os.Remove(fresh)
		return err
	}
	return nil
}

// configKey is the FNV-1a hash of the path.
func configKey(path string) string {
	h := uint64(14695981039346656037)
	for i := 0; i < len(path); i++ {
		h = (h ^ uint64(path[i])) * 1099511628211
	}
	return strconv.FormatUint(h, 16)
}
