package install

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatepass/gatepass/install/place"

	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/hooks/refs"
	"github.com/gatepass/gatepass/internal/shell"
	"github.com/gatepass/gatepass/internal/usererr"
)

// DefaultPrefix is where the programs of an image are installed.
const DefaultPrefix = "/usr/local"

// programs are the programs that a workspace needs.
var programs = []string{helperName, "gatepass-askpass", guardName, "gatepass-agent", "gatepass"}

// Paths of an image, as seen from inside.
const (
	profilePath = "/etc/profile.d/gatepass.sh"
	statePath   = "/usr/local/share/gatepass/image"
	receiptPath = statePath + "/receipt"
)

// A bundle plans the files of a whole image apart from git's configuration: the
// programs, the workspace file, and the receipt that says what Removal removes.
type bundle struct {
	*layout
	*Options
	plan    *Plan
	gateway *gateway

	receipt       *receipt // of an earlier install; nil if there is none
	receiptPlace  place.Place
	workspaceText []byte // of WorkspaceFile
}

// isUsed reports whether the programs and their receipt belong to the plan too.
func (b *bundle) isUsed() bool { return b.From != "" || b.receipt != nil }

// checkOptions checks the options of a bundle before anything is planned.
func (b *bundle) checkOptions() error {
	if b.From == "" {
		return nil
	}
	if b.Scope == Global {
		return usererr.New("install from "+b.From, "the programs of one user cannot be moved", "use --system, or --root DIR for an image")
	}
	if b.Prefix == "" {
		b.Prefix = DefaultPrefix
	}
	if err := CheckPath(b.Prefix); err != nil {
		return err
	}
	if b.Prefix = filepath.ToSlash(b.Prefix); path.Clean(b.Prefix) != strings.TrimSuffix(b.Prefix, "/") {
		return usererr.New("use the prefix "+b.Prefix, "it is not a plain path", "")
	}
	b.BinDir = path.Join(b.Prefix, "bin")
	for _, name := range programs {
		if info, err := os.Stat(filepath.Join(b.From, name)); err != nil || !info.Mode().IsRegular() {
			return usererr.New("find "+name, "it is not in "+b.From, "name the directory of the programs with --from DIR")
		}
	}
	return nil
}

// stamp returns the time for written files, so that equal images have equal files.
func (b *bundle) stamp() (time.Time, error) {
	text := b.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		info, err := os.Stat(filepath.Join(b.From, "gatepass"))
		if err != nil {
			return time.Time{}, wrapRead(filepath.Join(b.From, "gatepass"), err)
		}
		return info.ModTime(), nil
	}
	seconds, err := strconv.ParseUint(text, 10, 40)
	if err != nil {
		return time.Time{}, usererr.New("use SOURCE_DATE_EPOCH", "it is not a number of seconds", "correct or unset it")
	}
	return time.Unix(int64(seconds), 0), nil
}

// readWorkspaceFile reads the workspace file for the image.
func (b *bundle) readWorkspaceFile() (*config.Workspace, error) {
	text, err := os.ReadFile(b.WorkspaceFile)
	if err != nil {
		return nil, usererr.Wrap("read the workspace file "+b.WorkspaceFile, withoutPath(err), "name another with --workspace-file FILE")
	}
	w, err := config.Parse(text)
	if err == nil {
		_, err = refs.Compile(w.Refs)
	}
	if err != nil {
		return nil, usererr.Wrap("use the workspace file "+b.WorkspaceFile, err, "correct it")
	}
	b.workspaceText = text
	return w, nil
}

// add plans the files other than git's configuration, with the receipt last.
func (b *bundle) add() (err error) {
	if b.From == "" {
		return nil
	}
	if b.plan.stamp, err = b.stamp(); err != nil {
		return err
	}
	next := receipt{prefix: b.Prefix}
	if b.receipt != nil {
		next.files, next.dirs = b.receipt.files, b.receipt.dirs
	}
	for _, step := range []func(*receipt) error{b.addPrograms, b.addWorkspaceFile, b.addProfile, b.addOldTimes, b.removeOldPrograms} {
		if err := step(&next); err != nil {
			return err
		}
	}
	next.files = append(next.files, receiptPath)
	next.dirs = append(next.dirs, b.missingDirs()...)
	if err := b.addCopy(Copy{inside: receiptPath, mode: 0o644}); err != nil {
		return err
	}
	last := &b.plan.Copies[len(b.plan.Copies)-1]
	next.dirs = append(next.dirs, b.missingDirs()...)
	last.text = next.encode()
	return nil
}

func (b *bundle) addPrograms(next *receipt) error {
	for _, name := range programs {
		c := Copy{inside: path.Join(b.BinDir, name), mode: 0o755, source: filepath.Join(b.From, name)}
		p, err := b.placeOfFile(c.inside)
		if err != nil {
			return err
		}
		if sameAsPlace(c.source, p) {
			continue // started from its destination
		}
		next.files = append(next.files, c.inside)
		if err := b.addCopy(c); err != nil {
			return err
		}
	}
	return nil
}

func sameAsPlace(source string, p place.Place) bool {
	there, err := p.Stat()
	if err != nil {
		return false
	}
	here, err := os.Stat(source)
	return err == nil && os.SameFile(here, there)
}

// addWorkspaceFile plans the workspace file. It never replaces a file that install did
// not write.
func (b *bundle) addWorkspaceFile(next *receipt) error {
	if b.WorkspaceFile == "" {
		return nil
	}
	p, err := b.placeOfFile(config.DefaultPath)
	if err != nil {
		return err
	}
	there, exists, err := p.Read()
	switch {
	case err != nil:
		return wrapRead(p.Shown, err)
	case exists && !next.has(config.DefaultPath) && string(there) == string(b.workspaceText):
		return nil
	case exists && !next.has(config.DefaultPath):
		return usererr.New("write "+p.Shown, "another file exists there", "move it away or leave --workspace-file out")
	}
	next.files = append(next.files, config.DefaultPath)
	return b.addCopy(Copy{inside: config.DefaultPath, mode: 0o644, text: b.workspaceText})
}

func (b *bundle) addProfile(next *receipt) error {
	text := "# Written by gatepass install; gatepass uninstall removes it.\n" +
		"GIT_ASKPASS=" + shell.Quote(path.Join(b.BinDir, "gatepass-askpass")) + "\n" +
		"GIT_TERMINAL_PROMPT=0\nexport GIT_ASKPASS GIT_TERMINAL_PROMPT\n"
	if !b.gateway.IsZero() {
		text += "export CARGO_NET_GIT_FETCH_WITH_CLI=true # cargo's own git reads no insteadOf\n"
	}
	if b.gateway.ca != "" {
		text += "[ -n \"${NODE_EXTRA_CA_CERTS-}\" ] || NODE_EXTRA_CA_CERTS=" + shell.Quote(b.gateway.ca) + "\nexport NODE_EXTRA_CA_CERTS # beside those that node knows\n"
	}
	next.files = append(next.files, profilePath)
	return b.addCopy(Copy{inside: profilePath, mode: 0o644, text: []byte(text)})
}

// addOldTimes records the time of each configuration file that changes, as the time of
// an empty file beside the receipt. Uninstall restores it.
func (b *bundle) addOldTimes(next *receipt) error {
	for _, f := range b.plan.Files {
		kept := timePath(b.pathInside(f.place))
		info, err := f.place.Stat()
		if err != nil || next.has(kept) {
			continue
		}
		next.files = append(next.files, kept)
		if err := b.addCopy(Copy{inside: kept, mode: 0o644, time: info.ModTime()}); err != nil {
			return err
		}
	}
	return nil
}

// timePath is the file that records the time of a configuration file.
func timePath(file string) string {
	return statePath + "/time." + strings.ReplaceAll(file, "/", "%")
}

// pathInside returns the path of a place as git sees it.
func (t *tree) pathInside(p place.Place) string {
	if t.image != nil {
		return path.Join("/", p.Name)
	}
	return filepath.ToSlash(p.Path())
}

// removeOldPrograms plans to remove programs that an earlier run installed below another
// prefix.
func (b *bundle) removeOldPrograms(next *receipt) error {
	if b.receipt == nil || b.receipt.prefix == b.Prefix {
		return nil
	}
	for _, name := range programs {
		old := path.Join(b.receipt.prefix, "bin", name)
		if !b.receipt.has(old) {
			continue
		}
		next.files = slices.DeleteFunc(slices.Clone(next.files), func(f string) bool { return f == old })
		if err := b.addRemoval(old); err != nil {
			return err
		}
	}
	return b.removeOldDirs(next)
}

// removeOldDirs plans to remove the directories that only those programs needed.
func (b *bundle) removeOldDirs(next *receipt) error {
	bin, err := b.placeOf(path.Join(b.receipt.prefix, "bin"))
	if err != nil {
		return wrapUse(b.receipt.prefix, err)
	}
	needed := b.neededDirs(next)
	for _, dir := range slices.Clone(next.dirs) {
		if slices.ContainsFunc(needed, func(end place.Place) bool { return b.isAbove(dir, end) }) {
			continue
		}
		b.plan.removeWay(b.layout, dir, bin)
		next.dirs = slices.DeleteFunc(slices.Clone(next.dirs), func(d string) bool { return d == dir })
	}
	return nil
}

// neededDirs returns the directories of the files in a receipt, of git's configuration and
// of the hooks.
func (b *bundle) neededDirs(r *receipt) []place.Place {
	ends := []place.Place{b.hooks}
	for _, t := range b.targets {
		ends = append(ends, t.file.Parent())
	}
	for _, file := range r.files {
		if p, err := b.placeOfFile(file); err == nil {
			ends = append(ends, p.Parent())
		}
	}
	return ends
}

// placeOfFile finds the place of a file that is wholly ours. It follows links to the file's
// directory, but not a link in place of the file itself.
func (t *tree) placeOfFile(seen string) (place.Place, error) {
	dir, err := t.placeOf(path.Dir(seen))
	if err != nil {
		return place.Place{}, wrapUse(path.Dir(seen), err)
	}
	return dir.Child(path.Base(seen)), nil
}

func (b *bundle) addCopy(c Copy) error {
	p, err := b.placeOfFile(c.inside)
	if err != nil {
		return err
	}
	c.place, c.Path, c.Change = p, p.Shown, create
	info, err := p.Stat()
	switch {
	case err == nil && !info.Mode().IsRegular():
		return usererr.New("write "+p.Shown, "it exists and is not a regular file", "move it away")
	case err == nil:
		c.Change = replace
	case !errors.Is(err, fs.ErrNotExist):
		return wrapError("write ", p.Shown, err)
	}
	b.plan.Copies = append(b.plan.Copies, c)
	return nil
}

// addRemoval plans to remove a file that a receipt names, if it is a regular file;
// others are not ours.
func (b *bundle) addRemoval(seen string) error {
	p, err := b.placeOfFile(seen)
	if err != nil {
		return err
	}
	info, err := p.Stat()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return wrapError("remove ", p.Shown, err)
	case !info.Mode().IsRegular():
		b.plan.Notes = append(b.plan.Notes, p.Shown+" is kept: it is not a regular file")
		return nil
	}
	b.plan.Copies = append(b.plan.Copies, Copy{Path: p.Shown, Change: remove, place: p, inside: seen})
	return nil
}

// missingDirs returns the directories, as git sees them, that the plan must make.
func (b *bundle) missingDirs() (dirs []string) {
	var ends []place.Place
	for _, c := range b.plan.Copies {
		ends = append(ends, c.place.Parent())
	}
	for _, f := range b.plan.Files {
		ends = append(ends, f.place.Parent())
	}
	for _, s := range b.plan.Hooks {
		ends = append(ends, s.place)
	}
	for _, end := range ends {
		for at := end; at.Name != "."; at = at.Parent() {
			if _, err := at.Stat(); errors.Is(err, fs.ErrNotExist) {
				dirs = append(dirs, b.pathInside(at))
			}
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// remove plans to remove everything that the receipt names.
func (b *bundle) remove() error {
	if b.receipt == nil {
		return nil
	}
	b.plan.keepTimes = true
	b.restoreTimes()
	for _, file := range b.receipt.files {
		if err := b.addRemoval(file); err != nil {
			return err
		}
	}
	for _, dir := range b.receipt.dirs {
		p, err := b.placeOf(dir)
		if err != nil {
			return wrapUse(dir, err)
		}
		if _, err := p.Stat(); err != nil {
			continue
		}
		b.plan.Directories = append(b.plan.Directories, dir)
		b.plan.directories = append(b.plan.directories, p)
		b.plan.noted = append(b.plan.noted, p.Path())
	}
	return nil
}

// restoreTimes restores the old time of each configuration file, unless the file
// changed after the install.
func (b *bundle) restoreTimes() {
	written, err := b.receiptPlace.Stat()
	if err != nil {
		return
	}
	for i, f := range b.plan.Files {
		kept, err := b.placeOfFile(timePath(b.pathInside(f.place)))
		if err != nil || f.Change != edit {
			continue
		}
		old, err := kept.Stat()
		now, err2 := f.place.Stat()
		if err == nil && err2 == nil && !now.ModTime().After(written.ModTime()) {
			b.plan.Files[i].time = old.ModTime()
		}
	}
}
