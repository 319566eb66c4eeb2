package install

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// directories returns the values of madeKey for one file: the directories already in
// its block that still lead to something of ours, and those to be made now.
func (pl *planner) directories(t target, list []setting, kind Guard) []string {
	ends := []place{t.file.parent()}
	if kind.hooksPath() {
		ends = append(ends, pl.hooks)
	}
	var dirs []string
	for _, end := range ends {
		for _, dir := range recorded(list) {
			if pl.leadsTo(dir, end) {
				dirs = append(dirs, dir)
			}
		}
		if dir := pl.firstMissing(end); dir != "" {
			dirs = append(dirs, dir)
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

func recorded(list []setting) []string {
	var dirs []string
	for _, s := range list {
		if s.is(madeKey) {
			dirs = append(dirs, s.value)
		}
	}
	return dirs
}

// firstMissing returns the outermost missing directory on the path to p, as git sees
// it; "" if there is none, or if git cannot store its name.
func (pl *planner) firstMissing(p place) string {
	at := place{root: p.root, name: "."}
	for _, part := range names(p.name) {
		at = at.child(part)
		if _, err := at.stat(); err == nil {
			continue
		}
		dir := at.path()
		if pl.Scope == Image {
			dir = path.Join("/", at.name)
		}
		if CheckPath(dir) != nil {
			return ""
		}
		return dir
	}
	return ""
}

// leadsTo reports whether a directory is p or above it.
func (pl *planner) leadsTo(dir string, p place) bool {
	d, err := pl.seen(dir)
	return err == nil && strings.HasPrefix(p.path()+"/", d.path()+"/")
}

// addDirectories plans to remove the directories that New made and that we no longer
// need.
func (pl *planner) addDirectories(shims []place) {
	ends := slices.Clone(shims)
	for _, t := range pl.targets {
		ends = append(ends, t.file.parent())
	}
	slices.Sort(pl.madeDirs)
	for _, dir := range slices.Compact(pl.madeDirs) {
		if slices.Contains(pl.keptDirs, dir) {
			continue
		}
		for _, end := range ends {
			if pl.leadsTo(dir, end) {
				pl.addWay(dir, end)
			}
		}
	}
}

// addWay adds the directories from end up to dir, the innermost first.
func (pl *planner) addWay(dir string, end place) {
	outermost, err := pl.seen(dir)
	if err != nil {
		return
	}
	for at := end.path(); at == outermost.path() || strings.HasPrefix(at, outermost.path()+"/"); at = filepath.Dir(at) {
		rest := strings.TrimPrefix(at, outermost.path())
		pl.plan.Directories = append(pl.plan.Directories, filepath.Join(dir, rest))
		pl.plan.directories = append(pl.plan.directories, place{root: outermost.root, name: path.Join(outermost.name, rest)})
	}
}

// removeIfEmpty removes a directory if it is empty.
func (p place) removeIfEmpty() {
	_ = p.in(func(dir *os.Root, name string) error {
		if info, err := dir.Lstat(name); err != nil || !info.IsDir() {
			return err
		}
		return dir.Remove(name)
	})
}
