package install

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/hooks"
	"github.com/gatepass/gatepass/internal/oneline"
)

const shimHead = "#!/bin/sh\nexec "

func shim(guard, hook string) string { return string(hooks.Shim(guard, hook)) }

func shims(guard string) map[string]string {
	all := map[string]string{}
	for _, hook := range hooks.ClientHooks {
		all[hook] = shim(guard, hook)
	}
	return all
}

// isShim tells whether a file of that name and text is a shim of ours, with
// whatever path to the guard.
func isShim(hook, text string) bool {
	rest, ok := strings.CutPrefix(text, shimHead)
	if !ok {
		return false
	}
	guard, _, err := shellWord(rest)
	return err == nil && filepath.IsAbs(guard) && filepath.Base(guard) == guardName && text == shim(guard, hook)
}

// ourDir tells whether a value of core.hooksPath is a directory of our shims.
func (pl *planner) ourDir(value string) bool {
	if value == pl.hooksIn {
		return true
	}
	p, err := pl.seen(value)
	if err != nil {
		return false
	}
	text, _, err := p.child("pre-push").read()
	return err == nil && isShim("pre-push", string(text))
}

// planShims compares a directory with the shims wanted in it. A file of someone
// else's is never replaced.
func planShims(dir place, seenAs string, want map[string]string) (Shims, error) {
	s := Shims{Dir: seenAs, place: dir, want: want}
	names, err := dir.names()
	if err != nil {
		return s, cannotRead(dir.shown, err)
	}
	for _, name := range names {
		text, _, err := dir.child(name).read()
		ours := err == nil && isShim(name, string(text))
		wanted, isWanted := want[name]
		switch {
		case !ours && isWanted:
			return s, oneline.New("write the shim "+dir.child(name).shown, "a file of that name is not gatepass's",
				"move it away")
		case !ours:
			s.Keep = append(s.Keep, name)
		case !isWanted:
			s.Remove = append(s.Remove, name)
		case string(text) != wanted || !dir.child(name).runnable():
			s.Replace = append(s.Replace, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if !slices.Contains(names, name) {
			s.Create = append(s.Create, name)
		}
	}
	return s, nil
}

func (p place) runnable() bool {
	info, err := p.stat()
	return err == nil && info.Mode().Perm() == 0o755
}
