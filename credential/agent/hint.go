package agent

import (
	"os"
	"strconv"
	"syscall"
)

// Which variables a source reads is known to the agent alone: it reads the
// workspace file. So it leaves a symbolic link beside its socket whose target says
// it, which costs the helper one system call. Where there is none, or it lies,
// nobody gets what is another's: a call carries its identity, and the agent knows
// what its source reads.

// hintPath is where the link for a workspace file lies. Two files that share one
// by chance only have more agents than they need.
func hintPath(directory, config string) string { return directory + "/" + configKey(config) + ".reads" }

// hinted returns what the source of a workspace file reads.
func hinted(directory, config string) string {
	var target [len(readsAll) + 2]byte
	n, err := syscall.Readlink(hintPath(directory, config), target[:])
	if err != nil || n < 1 || n > len(readsAll)+1 || target[0] != noReads[0] {
		return readsAll
	}
	return string(target[1:n])
}

// noReads begins a link's target, which must not be empty.
const noReads = "-"

// Settle is Locate for an agent that knows what the source of its workspace file
// reads. It leaves the hint for those who ask.
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

// Hint says what the source of a workspace file reads to those who will ask.
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

// configKey is FNV-1a of the path.
func configKey(path string) string {
	h := uint64(14695981039346656037)
	for i := 0; i < len(path); i++ {
		h = (h ^ uint64(path[i])) * 1099511628211
	}
	return strconv.FormatUint(h, 16)
}
