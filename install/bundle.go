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

	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/hooks/refs"
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

// bundled reports whether the programs and their receipt belong to the plan too.
func (pl *planner) bundled() bool { return pl.From != "" || pl.receipt != nil }

// checkBundle checks the options of a bundle before anything is planned.
func (pl *planner) checkBundle() error {
	if pl.From == "" {
		return nil
	}
	if pl.Scope == Global {
		return usererr.New("install from "+pl.From, "the programs of one user stay where they are", "use --system, or --root DIR for an image")
	}
	if pl.Prefix == "" {
		pl.Prefix = DefaultPrefix
	}
	if err := CheckPath(pl.Prefix); err != nil {
		return err
	}
	if pl.Prefix = filepath.ToSlash(pl.Prefix); path.Clean(pl.Prefix) != strings.TrimSuffix(pl.Prefix, "/") {
		return usererr.New("use the prefix "+pl.Prefix, "it is not a plain path", "")
	}
	pl.BinDir = path.Join(pl.Prefix, "bin")
	for _, name := range programs {
		if info, err := os.Stat(filepath.Join(pl.From, name)); err != nil || !info.Mode().IsRegular() {
			return usererr.New("find "+name, "it is not in "+pl.From, "name the folder of the programs with --from DIR")
		}
	}
	return nil
}

// stamp returns the time for written files, so that equal images have equal files.
func (pl *planner) stamp() (time.Time, error) {
	text := pl.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		info, err := os.Stat(filepath.Join(pl.From, "gatepass"))
		if err != nil {
			return time.Time{}, cannotRead(filepath.Join(pl.From, "gatepass"), err)
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
func (pl *planner) readWorkspaceFile() (*config.Workspace, error) {
	text, err := os.ReadFile(pl.WorkspaceFile)
	if err != nil {
		return nil, usererr.Wrap("read the workspace file "+pl.WorkspaceFile, plain(err), "name another with --workspace-file FILE")
	}
	w, err := config.Parse(text)
	if err == nil {
		_, err = refs.Compile(w.Refs)
	}
	if err != nil {
		return nil, usererr.Wrap("use the workspace file "+pl.WorkspaceFile, err, "correct it")
	}
	pl.workspaceText = text
	return w, nil
}

// addBundle plans the files other than git's configuration, with the receipt last.
func (pl *planner) addBundle() (err error) {
	if pl.From == "" {
		return nil
	}
	if pl.plan.stamp, err = pl.stamp(); err != nil {
		return err
	}
	next := receipt{prefix: pl.Prefix}
	if pl.receipt != nil {
		next.files, next.dirs = pl.receipt.files, pl.receipt.dirs
	}
	for _, step := range []func(*receipt) error{pl.addPrograms, pl.addWorkspaceFile, pl.addProfile, pl.addOldTimes, pl.dropOldPrograms} {
		if err := step(&next); err != nil {
			return err
		}
	}
	next.files = append(next.files, receiptPath)
	next.dirs = append(next.dirs, pl.missingDirs()...)
	if err := pl.addCopy(Copy{seen: receiptPath, mode: 0o644}); err != nil {
		return err
	}
	last := &pl.plan.Copies[len(pl.plan.Copies)-1]
	next.dirs = append(next.dirs, pl.missingDirs()...)
	last.text = next.encode()
	return nil
}

func (pl *planner) addPrograms(next *receipt) error {
	for _, name := range programs {
		c := Copy{seen: path.Join(pl.BinDir, name), mode: 0o755, source: filepath.Join(pl.From, name)}
		p, err := pl.placeOf(c.seen)
		if err != nil {
			return err
		}
		if sameAsPlace(c.source, p) {
			continue // started from its destination
		}
		next.files = append(next.files, c.seen)
		if err := pl.addCopy(c); err != nil {
			return err
		}
	}
	return nil
}

func sameAsPlace(source string, p place) bool {
	there, err := p.stat()
	if err != nil {
		return false
	}
	here, err := os.Stat(source)
	return err == nil && os.SameFile(here, there)
}

// addWorkspaceFile plans the workspace file. It never replaces a file that install did
// not write.
func (pl *planner) addWorkspaceFile(next *receipt) error {
	if pl.WorkspaceFile == "" {
		return nil
	}
	p, err := pl.placeOf(config.DefaultPath)
	if err != nil {
		return err
	}
	there, exists, err := p.read()
	switch {
	case err != nil:
		return cannotRead(p.shown, err)
	case exists && !next.has(config.DefaultPath) && string(there) == string(pl.workspaceText):
		return nil
	case exists && !next.has(config.DefaultPath):
		return usererr.New("write "+p.shown, "another one is there", "move it away or leave --workspace-file out")
	}
	next.files = append(next.files, config.DefaultPath)
	return pl.addCopy(Copy{seen: config.DefaultPath, mode: 0o644, text: pl.workspaceText})
}

func (pl *planner) addProfile(next *receipt) error {
	text := "# Written by gatepass install; gatepass uninstall takes it out again.\n" +
		"GIT_ASKPASS=" + shellQuote(path.Join(pl.BinDir, "gatepass-askpass")) + "\n" +
		"GIT_TERMINAL_PROMPT=0\nexport GIT_ASKPASS GIT_TERMINAL_PROMPT\n"
	if !pl.gateway.IsZero() {
		text += "export CARGO_NET_GIT_FETCH_WITH_CLI=true # cargo's own git reads no insteadOf\n"
	}
	if pl.gateway.ca != "" {
		text += "[ -n \"${NODE_EXTRA_CA_CERTS-}\" ] || NODE_EXTRA_CA_CERTS=" + shellQuote(pl.gateway.ca) + "\nexport NODE_EXTRA_CA_CERTS # beside those that node knows\n"
	}
	next.files = append(next.files, profilePath)
	return pl.addCopy(Copy{seen: profilePath, mode: 0o644, text: []byte(text)})
}

// addOldTimes records the time of each configuration file that changes, as the time of
// an empty file beside the receipt. Uninstall restores it.
func (pl *planner) addOldTimes(next *receipt) error {
	for _, f := range pl.plan.Files {
		kept := timePath(pl.insideOf(f.place))
		info, err := f.place.stat()
		if err != nil || next.has(kept) {
			continue
		}
		next.files = append(next.files, kept)
		if err := pl.addCopy(Copy{seen: kept, mode: 0o644, time: info.ModTime()}); err != nil {
			return err
		}
	}
	return nil
}

// timePath is the file that records the time of a configuration file.
func timePath(file string) string {
	return statePath + "/time." + strings.ReplaceAll(file, "/", "%")
}

// insideOf returns the path of a place as git sees it.
func (pl *planner) insideOf(p place) string {
	if pl.Scope == Image {
		return path.Join("/", p.name)
	}
	return filepath.ToSlash(p.path())
}

// dropOldPrograms plans to remove programs that an earlier run installed below another
// prefix.
func (pl *planner) dropOldPrograms(next *receipt) error {
	if pl.receipt == nil || pl.receipt.prefix == pl.Prefix {
		return nil
	}
	for _, name := range programs {
		old := path.Join(pl.receipt.prefix, "bin", name)
		if !pl.receipt.has(old) {
			continue
		}
		next.files = slices.DeleteFunc(slices.Clone(next.files), func(f string) bool { return f == old })
		if err := pl.addRemoval(old); err != nil {
			return err
		}
	}
	return pl.dropOldDirs(next)
}

// dropOldDirs plans to remove the directories that only those programs needed.
func (pl *planner) dropOldDirs(next *receipt) error {
	bin, err := pl.seen(path.Join(pl.receipt.prefix, "bin"))
	if err != nil {
		return cannotUse(pl.receipt.prefix, err)
	}
	needed := pl.endsOf(next)
	for _, dir := range slices.Clone(next.dirs) {
		if slices.ContainsFunc(needed, func(end place) bool { return pl.leadsTo(dir, end) }) {
			continue
		}
		pl.addWay(dir, bin)
		next.dirs = slices.DeleteFunc(slices.Clone(next.dirs), func(d string) bool { return d == dir })
	}
	return nil
}

// endsOf returns the directories of the files in a receipt, of git's configuration and
// of the hooks.
func (pl *planner) endsOf(r *receipt) []place {
	ends := []place{pl.hooks}
	for _, t := range pl.targets {
		ends = append(ends, t.file.parent())
	}
	for _, file := range r.files {
		if p, err := pl.placeOf(file); err == nil {
			ends = append(ends, p.parent())
		}
	}
	return ends
}

// placeOf finds the place of a file that is wholly ours. It follows links to the file's
// directory, but not a link in place of the file itself.
func (pl *planner) placeOf(seen string) (place, error) {
	dir, err := pl.seen(path.Dir(seen))
	if err != nil {
		return place{}, cannotUse(path.Dir(seen), err)
	}
	return dir.child(path.Base(seen)), nil
}

func (pl *planner) addCopy(c Copy) error {
	p, err := pl.placeOf(c.seen)
	if err != nil {
		return err
	}
	c.place, c.Path, c.Change = p, p.shown, create
	info, err := p.stat()
	switch {
	case err == nil && !info.Mode().IsRegular():
		return usererr.New("write "+p.shown, "what is in its place is not a regular file", "move it away")
	case err == nil:
		c.Change = replace
	case !errors.Is(err, fs.ErrNotExist):
		return cannot("write ", p.shown, err)
	}
	pl.plan.Copies = append(pl.plan.Copies, c)
	return nil
}

// addRemoval plans to remove a file that a receipt names, if it is a regular file;
// others are not ours.
func (pl *planner) addRemoval(seen string) error {
	p, err := pl.placeOf(seen)
	if err != nil {
		return err
	}
	info, err := p.stat()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return cannot("remove ", p.shown, err)
	case !info.Mode().IsRegular():
		pl.plan.Notes = append(pl.plan.Notes, p.shown+" stays: it is not a regular file")
		return nil
	}
	pl.plan.Copies = append(pl.plan.Copies, Copy{Path: p.shown, Change: remove, place: p, seen: seen})
	return nil
}

// missingDirs returns the directories, as git sees them, that the plan must make.
func (pl *planner) missingDirs() (dirs []string) {
	var ends []place
	for _, c := range pl.plan.Copies {
		ends = append(ends, c.place.parent())
	}
	for _, f := range pl.plan.Files {
		ends = append(ends, f.place.parent())
	}
	for _, s := range pl.plan.Hooks {
		ends = append(ends, s.place)
	}
	for _, end := range ends {
		for at := end; at.name != "."; at = at.parent() {
			if _, err := at.stat(); errors.Is(err, fs.ErrNotExist) {
				dirs = append(dirs, pl.insideOf(at))
			}
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// clearBundle plans to remove everything that the receipt names.
func (pl *planner) clearBundle() error {
	if pl.receipt == nil {
		return nil
	}
	pl.plan.keepTimes = true
	pl.giveTimesBack()
	for _, file := range pl.receipt.files {
		if err := pl.addRemoval(file); err != nil {
			return err
		}
	}
	for _, dir := range pl.receipt.dirs {
		p, err := pl.seen(dir)
		if err != nil {
			return cannotUse(dir, err)
		}
		if _, err := p.stat(); err != nil {
			continue
		}
		pl.plan.Directories = append(pl.plan.Directories, dir)
		pl.plan.directories = append(pl.plan.directories, p)
		pl.plan.noted = append(pl.plan.noted, p.path())
	}
	return nil
}

// giveTimesBack restores the old time of each configuration file, unless the file
// changed after the install.
func (pl *planner) giveTimesBack() {
	written, err := pl.receiptPlace.stat()
	if err != nil {
		return
	}
	for i, f := range pl.plan.Files {
		kept, err := pl.placeOf(timePath(pl.insideOf(f.place)))
		if err != nil || f.Change != edit {
			continue
		}
		old, err := kept.stat()
		now, err2 := f.place.stat()
		if err == nil && err2 == nil && !now.ModTime().After(written.ModTime()) {
			pl.plan.Files[i].time = old.ModTime()
		}
	}
}
