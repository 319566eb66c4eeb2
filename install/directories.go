package install

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/install/place"
)

// directories returns the values of madeKey for one file: the directories already in
// its block that still lead to something of ours, and those to be made now.
func (pl *planner) directories(t target, list []setting, kind Guard) []string {
	ends := []place.Place{t.file.Parent()}
	if kind.hooksPath() {
		ends = append(ends, pl.hooks)
	}
	var dirs []string
	for _, end := range ends {
		for _, dir := range recorded(list) {
			if pl.isAbove(dir, end) {
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
func (t *tree) firstMissing(p place.Place) string {
	at := place.Place{Root: p.Root, Name: "."}
	for _, part := range place.Parts(p.Name) {
		at = at.Child(part)
		if _, err := at.Stat(); err == nil {
			continue
		}
		dir := at.Path()
		if t.image != nil {
			dir = path.Join("/", at.Name)
		}
		if CheckPath(dir) != nil {
			return ""
		}
		return dir
	}
	return ""
}

// isAbove reports whether a directory is p or above it.
func (t *tree) isAbove(dir string, p place.Place) bool {
	d, err := t.placeOf(dir)
	return err == nil && strings.HasPrefix(p.Path()+"/", d.Path()+"/")
}

// removeDirectories plans to remove the directories that New made and that we no longer
// need.
func (pl *planner) removeDirectories(shims []place.Place) {
	ends := slices.Clone(shims)
	for _, t := range pl.targets {
		ends = append(ends, t.file.Parent())
	}
	slices.Sort(pl.madeDirs)
	for _, dir := range slices.Compact(pl.madeDirs) {
		if slices.Contains(pl.keptDirs, dir) {
			continue
		}
		for _, end := range ends {
			if pl.isAbove(dir, end) {
				pl.plan.removeWay(&pl.layout, dir, end)
			}
		}
	}
}

// removeWay adds the directories from end up to dir, the innermost first.
func (p *Plan) removeWay(l *layout, dir string, end place.Place) {
	outermost, err := l.placeOf(dir)
	if err != nil {
		return
	}
	for at := end.Path(); at == outermost.Path() || strings.HasPrefix(at, outermost.Path()+"/"); at = filepath.Dir(at) {
		rest := strings.TrimPrefix(at, outermost.Path())
		p.Directories = append(p.Directories, filepath.Join(dir, rest))
		p.directories = append(p.directories, outermost.Child(rest))
	}
}

// times are the times of the directories on the way to what a plan changes. Equal
// images should have equal times, and an uninstall should restore the old ones.
type times struct {
	stamp time.Time
	kept  []keptTime
}

type keptTime struct {
	dir  place.Place
	time time.Time // zero: the directory did not exist
}

// noteTimes records the times of the directories before the plan is applied.
func (p *Plan) noteTimes() times {
	t := times{stamp: p.stamp}
	if p.stamp.IsZero() && !p.keepTimes {
		return t
	}
	seen := map[string]bool{}
	for _, changed := range p.places() {
		for at := changed.Parent(); !seen[at.Path()]; at = at.Parent() {
			seen[at.Path()] = true
			var was time.Time
			if info, err := at.Stat(); err == nil {
				was = info.ModTime()
			}
			t.kept = append(t.kept, keptTime{at, was})
		}
	}
	return t
}

// places returns all places that the plan writes or removes.
func (p *Plan) places() (list []place.Place) {
	for _, f := range p.Files {
		list = append(list, f.place)
	}
	for _, c := range p.Copies {
		list = append(list, c.place)
	}
	for _, s := range p.Hooks {
		list = append(list, s.place.Child("hook"))
	}
	return append(list, p.directories...)
}

// restore sets the times of directories and, after a success, those of written files.
// It ignores a time that cannot be set.
func (t times) restore(p *Plan, success bool) {
	if success {
		t.stampFiles(p)
	}
	for _, k := range t.kept {
		if k.time.IsZero() {
			k.time = t.stamp
		}
		k.dir.SetTime(k.time)
	}
}

func (t times) stampFiles(p *Plan) {
	for _, f := range p.Files {
		if f.time.IsZero() {
			f.time = t.stamp
		}
		f.place.SetTime(f.time)
	}
	for _, s := range p.Hooks {
		for _, name := range slices.Concat(s.Create, s.Replace) {
			s.place.Child(name).SetTime(t.stamp)
		}
	}
}

// KeepTime returns a function that restores the current time of a directory.
func KeepTime(dir string) func() {
	info, err := os.Stat(dir)
	if err != nil {
		return func() {}
	}
	return func() { _ = os.Chtimes(dir, info.ModTime(), info.ModTime()) }
}
