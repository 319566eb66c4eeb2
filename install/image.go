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

// otherGits is where images have gits beside the distribution's: built from
// source, of conda, of Homebrew. Those of Nix read /etc/gitconfig.
var otherGits = []string{
	"usr/local/bin/git",
	"opt/*/bin/git",
	"opt/conda/envs/*/bin/git",
	"root/*conda3/bin/git",
	"home/linuxbrew/.linuxbrew/bin/git",
}

// findImageGits returns those of otherGits that an image has, as absolute
// paths inside it. One that is the distribution's under another name is not
// another git. Links are followed as the image would, whoever made them: a git
// that is missed is one without a guard.
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

// nixGits are the gits of Nix. They are only asked for their file: it is that of
// the distribution.
var nixGits = []string{"root/.nix-profile/bin/git", "nix/var/nix/profiles/default/bin/git"}

// otherHostGits returns those of otherGits that this machine has and that are
// not on PATH. They are run only if the caller wants that.
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

// lookInside returns what an image has at a path, or nil. It is only for looking.
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

// glob returns the paths below dir of an image that match the pattern's parts.
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

// derivedSystemFile returns the system configuration file of a git that cannot
// be asked: what git's Makefile makes of its prefix, etc/gitconfig below it,
// with /etc for the prefix /usr. The link the git is started by counts, not
// where it leads: Homebrew links into its cellar, and builds with the prefix
// of the link.
func derivedSystemFile(git string) string {
	prefix := path.Dir(path.Dir(git))
	if prefix == "/usr" {
		prefix = "/"
	}
	return path.Join(prefix, "etc/gitconfig")
}
