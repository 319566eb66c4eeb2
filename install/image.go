package install

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/install/place"

	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/internal/usererr"
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
func (t *tree) findImageGits() (found []string) {
	distribution := t.stat("/usr/bin/git")
	for _, pattern := range otherGits {
		for _, git := range t.glob("/", strings.Split(pattern, "/")) {
			info := t.stat(git)
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
func (l *layout) otherHostGits(ctx context.Context, runThem bool) (found []git) {
	var seen []os.FileInfo
	for _, g := range l.gits {
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
			g := git{path: m, getenv: l.getenv}
			if runThem && !g.askVersion(ctx) {
				continue
			}
			seen = append(seen, info)
			found = append(found, g)
		}
	}
	return found
}

// stat returns the information of a path in an image, or nil. Use the result only
// to inspect, not to open.
func (t *tree) stat(inner string) fs.FileInfo {
	p, err := place.SeenInImage(t.image, inner)
	if err != nil {
		return nil
	}
	info, err := p.Stat()
	if err != nil {
		return nil
	}
	return info
}

// glob returns the paths below dir in an image that match the pattern's parts.
func (t *tree) glob(dir string, parts []string) (found []string) {
	if len(parts) == 0 {
		return []string{dir}
	}
	next := []string{parts[0]}
	if strings.Contains(parts[0], "*") {
		p, err := place.SeenInImage(t.image, dir)
		if err != nil {
			return nil
		}
		next, _ = p.Names()
	}
	for _, name := range next {
		if ok, _ := path.Match(parts[0], name); ok {
			found = append(found, t.glob(path.Join(dir, name), parts[1:])...)
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

// A receipt records what an install put into an image apart from git's configuration.
// It is in the image itself, so it is trusted only as far as install itself could have
// written it.
type receipt struct {
	prefix      string
	files, dirs []string // as seen from inside
}

func (r *receipt) has(file string) bool { return slices.Contains(r.files, file) }

func (r *receipt) encode() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "prefix %s\n", r.prefix)
	for _, list := range []struct {
		kind  string
		paths []string
	}{{"dir", r.dirs}, {"file", r.files}} {
		slices.Sort(list.paths)
		for _, p := range slices.Compact(list.paths) {
			fmt.Fprintf(&b, "%s %s\n", list.kind, p)
		}
	}
	return []byte(b.String())
}

// parseReceipt refuses a receipt with a line that encode could not have written.
func parseReceipt(text string) (*receipt, error) {
	r := &receipt{}
	for n, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		kind, p, _ := strings.Cut(line, " ")
		bad := CheckPath(p) != nil || path.Clean(p) != p
		switch {
		case bad:
		case kind == "prefix" && n == 0:
			r.prefix = p
		case kind == "file" && installs(p):
			r.files = append(r.files, p)
		case kind == "dir":
			r.dirs = append(r.dirs, p)
		default:
			bad = true
		}
		if bad || r.prefix == "" {
			return nil, fmt.Errorf("line %d is not a line that install writes: %s", n+1, usererr.Quote(line))
		}
	}
	return r, nil
}

// installs reports whether install writes a file of that path, for any prefix.
func installs(file string) bool {
	dir, name := path.Split(file)
	switch {
	case file == profilePath, file == config.DefaultPath, file == receiptPath:
		return true
	case dir == statePath+"/":
		return strings.HasPrefix(name, "time.%")
	}
	return path.Base(dir) == "bin" && slices.Contains(programs, name)
}

// readReceipt reads the receipt of an earlier install, if there is one.
func (b *bundle) readReceipt() error {
	p, err := b.placeOfFile(receiptPath)
	if err != nil {
		return err
	}
	b.receiptPlace = p
	text, exists, err := p.Read()
	if err != nil || !exists {
		return wrapRead(p.Shown, err)
	}
	if info, err := p.Stat(); err != nil || !p.IsTrusted() || info.Mode().Perm()&0o022 != 0 {
		return usererr.New("trust the receipt "+p.Shown, "another user can write to it", "run the command as its owner, or remove the file")
	}
	if b.receipt, err = parseReceipt(string(text)); err != nil {
		return usererr.Wrap("read the receipt "+p.Shown, err, receiptHint)
	}
	return nil
}

const receiptHint = "nothing was changed: find out which program wrote that file, and remove it"

// checkReceipt refuses a directory in the receipt that cannot contain a file of ours.
func (b *bundle) checkReceipt() error {
	if b.receipt == nil {
		return nil
	}
	ends := b.neededDirs(b.receipt)
	for _, dir := range b.receipt.dirs {
		if !slices.ContainsFunc(ends, func(end place.Place) bool { return b.isAbove(dir, end) }) {
			return usererr.New("read the receipt "+b.receiptPlace.Shown, "install does not create the directory "+dir, receiptHint)
		}
	}
	return nil
}

// gitPackages are the databases of Debian's and Alpine's package managers, and how a
// record in each begins and states its version.
var gitPackages = []struct{ file, name, version string }{
	{"/var/lib/dpkg/status", "Package: git", "Version: "},
	{"/lib/apk/db/installed", "P:git", "V:"},
	{"/usr/lib/apk/db/installed", "P:git", "V:"},
}

// imageGit finds an image's git in its package database, because it runs no program of
// an image. If there is a git beside the packaged one, the version is unknown.
func (l *layout) imageGit() (v version, where string) {
	if len(l.imageGits) > 0 {
		return version{}, ""
	}
	for _, db := range gitPackages {
		p, err := place.InImage(l.image, db.file)
		if err != nil {
			continue
		}
		content, _, err := p.Read()
		if err != nil {
			continue
		}
		if v := packageVersion(content, db.name, db.version); v.known() {
			return v, db.file
		}
	}
	return version{}, ""
}

// packageVersion returns the version in the record that contains the line name. Empty
// lines separate records.
func packageVersion(db []byte, name, key string) version {
	lines := bufio.NewScanner(bytes.NewReader(db))
	lines.Buffer(nil, 1<<20)
	var here bool
	var text string
	for lines.Scan() {
		line := lines.Text()
		switch {
		case line == "":
			if here && text != "" {
				return debianVersion(text)
			}
			here, text = false, ""
		case line == name:
			here = true
		case strings.HasPrefix(line, key):
			text = strings.TrimPrefix(line, key)
		}
	}
	if !here {
		return version{}
	}
	return debianVersion(text)
}

// debianVersion removes the epoch that Debian puts before a version.
func debianVersion(s string) version {
	if _, rest, ok := strings.Cut(s, ":"); ok {
		s = rest
	}
	return parseVersion(s)
}
