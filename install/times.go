package install

import (
	"io/fs"
	"os"
	"slices"
	"time"
)

// times are the times of the directories on the way to what a plan changes. Equal
// images should have equal times, and an uninstall should restore the old ones.
type times struct {
	stamp time.Time
	kept  []keptTime
}

type keptTime struct {
	dir  place
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
		for at := changed.parent(); !seen[at.path()]; at = at.parent() {
			seen[at.path()] = true
			var was time.Time
			if info, err := at.stat(); err == nil {
				was = info.ModTime()
			}
			t.kept = append(t.kept, keptTime{at, was})
		}
	}
	return t
}

// places returns all places that the plan writes or removes.
func (p *Plan) places() (list []place) {
	for _, f := range p.Files {
		list = append(list, f.place)
	}
	for _, c := range p.Copies {
		list = append(list, c.place)
	}
	for _, s := range p.Hooks {
		list = append(list, s.place.child("hook"))
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
		k.dir.setTime(k.time)
	}
}

func (t times) stampFiles(p *Plan) {
	for _, f := range p.Files {
		if f.time.IsZero() {
			f.time = t.stamp
		}
		f.place.setTime(f.time)
	}
	for _, s := range p.Hooks {
		for _, name := range slices.Concat(s.Create, s.Replace) {
			s.place.child(name).setTime(t.stamp)
		}
	}
}

// setTime sets the time of a directory, regular file or symbolic link.
func (p place) setTime(when time.Time) {
	if when.IsZero() {
		return
	}
	if dir, err := openDir(p.root, p.name); err == nil {
		_ = dir.Chtimes(".", when, when)
		dir.Close()
		return
	}
	_ = p.in(func(dir *os.Root, name string) error {
		info, err := dir.Lstat(name)
		switch {
		case err != nil:
			return err
		case info.Mode().Type() == fs.ModeSymlink:
			return setLinkTime(dir, name, when)
		case info.Mode().IsRegular():
			return dir.Chtimes(name, when, when)
		}
		return nil
	})
}

// KeepTime returns a function that restores the current time of a directory.
func KeepTime(dir string) func() {
	info, err := os.Stat(dir)
	if err != nil {
		return func() {}
	}
	return func() { _ = os.Chtimes(dir, info.ModTime(), info.ModTime()) }
}
