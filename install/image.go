package install

import (
	"context"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// otherGits are the places in images of gits that are not the distribution's: built
// from source, of conda, of Homebrew. Those of Nix read /etc/gitconfig.
var otherGits = []string{
	"usr/local/bin/git",
	"opt/*/bin/git",
	"opt/conda/envs/*/bin/git",
	"root/*conda3/bin/git",
	"home/linuxbrew/.linuxbrew/bin/git",
}

// findImageGits returns those of otherGits that an image has, as absolute paths inside
// it. The distribution's git under another name does not count. It follows links as the
// image would, whatever their owner: a git that it misses is a git without a guard.
func (pl *planner) findImageGits() (found []string) {
	distribution := pl.lookInside("/usr/bin/git")
	for _, pattern := range otherGits {
		for _, git := range pl.glob("/", strings.Split(pattern, "/")) {
			info := pl.lookInside(git)
			if info == nil || !executable(info) || distribution != nil && os.SameFile(info, distribution) {
				continue
			}
			found = append(found, git)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// nixGits are the gits of Nix. They are only asked for their system file, which is the
// distribution's.
var nixGits = []string{"root/.nix-profile/bin/git", "nix/var/nix/profiles/default/bin/git"}

// otherHostGits returns those of otherGits that this machine has and that are not on
// PATH. It runs them only if runThem is set.
func (pl *planner) otherHostGits(ctx context.Context, runThem bool) (found []git) {
	var seen []os.FileInfo
	for _, g := range pl.gits {
		if info, err := os.Stat(g.path); err == nil {
			seen = append(seen, info)
		}
	}
	patterns := otherGits
	if runThem {
		patterns = slices.Concat(otherGits, nixGits)
	}
	for _, pattern := range patterns {
		matches, _ := filepath.Glob("/" + pattern)
		for _, m := range matches {
			info, err := os.Stat(m)
			if err != nil || !executable(info) || sameAsAny(info, seen) {
				continue
			}
			g := git{path: m, getenv: pl.Getenv}
			if runThem && !g.askVersion(ctx) {
				continue
			}
			seen = append(seen, info)
			found = append(found, g)
		}
	}
	return found
}

// lookInside returns the information of a path in an image, or nil. Use the result only
// to inspect, not to open.
func (pl *planner) lookInside(inner string) fs.FileInfo {
	p, err := imageLookup(pl.image, inner, lookup{anyLink: true})
	if err != nil {
		return nil
	}
	info, err := p.stat()
	if err != nil {
		return nil
	}
	return info
}

// glob returns the paths below dir in an image that match the pattern's parts.
func (pl *planner) glob(dir string, parts []string) (found []string) {
	if len(parts) == 0 {
		return []string{dir}
	}
	next := []string{parts[0]}
	if strings.Contains(parts[0], "*") {
		p, err := imageLookup(pl.image, dir, lookup{anyLink: true})
		if err != nil {
			return nil
		}
		next, _ = p.names()
	}
	for _, name := range next {
		if ok, _ := path.Match(parts[0], name); ok {
			found = append(found, pl.glob(path.Join(dir, name), parts[1:])...)
		}
	}
	return found
}

// derivedSystemFile returns the system configuration file of a git that cannot be
// asked. It follows git's Makefile: etc/gitconfig below the prefix, and /etc for the
// prefix /usr. The prefix is that of the link by which git is started and not of its
// target: Homebrew links into its cellar, and builds with the prefix of the link.
func derivedSystemFile(git string) string {
	prefix := path.Dir(path.Dir(git))
	if prefix == "/usr" {
		prefix = "/"
	}
	return path.Join(prefix, "etc/gitconfig")
}
