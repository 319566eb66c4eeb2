package install

import (
	"io/fs"
	"os"
	"path"
)

// otherGits is where images have gits beside the distribution's: built from
// source, of conda, of Homebrew. Those of Nix read /etc/gitconfig.
var otherGits = []string{
	"usr/local/bin/git",
	"opt/*/bin/git",
	"opt/conda/envs/*/bin/git",
	"home/linuxbrew/.linuxbrew/bin/git",
}

// findImageGits returns those of otherGits that an image has, as absolute
// paths inside it. One that is the distribution's under another name is not
// another git.
func (pl *planner) findImageGits() (found []string) {
	_ = place{base: pl.Root}.with(func(r *os.Root) error {
		distribution, _ := r.Stat("usr/bin/git")
		for _, pattern := range otherGits {
			matches, _ := fs.Glob(r.FS(), pattern)
			for _, m := range matches {
				info, err := r.Stat(m)
				if err != nil || !executable(info) || distribution != nil && os.SameFile(info, distribution) {
					continue
				}
				found = append(found, "/"+m)
			}
		}
		return nil
	})
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
