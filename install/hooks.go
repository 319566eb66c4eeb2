package install

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/install/place"

	"github.com/gatepass/gatepass/hooks"
	"github.com/gatepass/gatepass/internal/shell"
	"github.com/gatepass/gatepass/internal/usererr"
)

// A Choice says how the gits that read one file run the guard, and why.
//
// Git 2.54 and later run hook.gatepass.* in addition to the hooks directory: no hook of
// the repository is hidden, and a tool that sets its own core.hooksPath (husky) does
// not replace the guard. Older git ignores those variables and needs core.hooksPath
// with shims, which hide every hook of every repository and therefore call them. So
// each file gets what its gits need, or both if they differ or a version is unknown:
// old versions ignore the first, and new versions at worst run the guard twice.
type Choice struct {
	File string `json:"file"`
	Kind Guard  `json:"guard"`
	Why  string `json:"why"`
}

func (pl *planner) chooseGuard(t target) Choice {
	if pl.Guard != GuardAuto {
		return Choice{Kind: pl.Guard, Why: "as asked"}
	}
	if pl.Scope == Image {
		v, where := pl.imageGit()
		if where == "" {
			return Choice{Kind: GuardBoth, Why: "the version of git in the image is unknown"}
		}
		return chooseByVersions([]version{v}, "git "+v.String()+" inside ("+where+")")
	}
	var versions []version
	var texts []string
	for _, g := range t.gits {
		versions = append(versions, g.version)
		texts = append(texts, fmt.Sprintf("git %s (%s)", g.version, g.path))
	}
	return chooseByVersions(versions, strings.Join(texts, ", "))
}

func chooseByVersions(versions []version, seen string) Choice {
	modern := func(v version) bool { return v.known() && !v.before(configuredHooks) }
	old := func(v version) bool { return v.known() && v.before(configuredHooks) }
	switch {
	case len(versions) == 0 || slices.ContainsFunc(versions, func(v version) bool { return !v.known() }):
		return Choice{Kind: GuardBoth, Why: seen + ": some versions are unknown"}
	case !slices.ContainsFunc(versions, old):
		return Choice{Kind: GuardHook, Why: seen + " has configured hooks"}
	case !slices.ContainsFunc(versions, modern):
		return Choice{Kind: GuardHooksPath, Why: seen + " has no configured hooks (before 2.54)"}
	}
	return Choice{Kind: GuardBoth, Why: seen + ": only some have configured hooks (2.54)"}
}

// A program is a file in a directory of shims: a script, or a symbolic link.
type program struct{ text, link string }

// shims returns the directory of shims for a guard, by file name. chain is the
// core.hooksPath that they replace. The links of hooks.Linked are only for Linux: see
// hooks.LinkTarget.
func (pl *planner) shims(guard, chain string) map[string]program {
	all := map[string]program{}
	for _, hook := range hooks.Shimmed {
		shim := hooks.Shim{Guard: guard, Event: hook, Chain: chain}
		if shim.Link() {
			all[hook] = program{link: guard}
		} else {
			all[hook] = program{text: shim.Text()}
		}
	}
	if pl.Scope == Global && strings.HasPrefix(chain, "~/") {
		chain = filepath.Join(pl.Getenv("HOME"), chain[2:])
	}
	for _, hook := range hooks.Linked {
		if target, ok := hooks.LinkTarget(hook, chain); ok && (runtime.GOOS == "linux" || pl.Scope == Image) {
			all[hook] = program{link: target}
		}
	}
	return all
}

// isShim reports whether a file of that name is ours, with any path to the guard, from
// this version or an earlier one.
func isShim(hook string, p program) bool {
	if p.link != "" {
		toGuard := slices.Contains(hooks.Shimmed, hook) && filepath.Base(p.link) == guardName
		toHook := slices.Contains(hooks.Linked, hook) && filepath.Base(p.link) == hook
		return filepath.IsAbs(p.link) && (toGuard || toHook)
	}
	if guard, ok := hooks.ShimGuard(p.text); ok {
		return slices.Contains(hooks.Shimmed, hook) && filepath.Base(guard) == guardName
	}
	guard, rest, err := shell.FirstWord(strings.TrimPrefix(p.text, earlierShim))
	return err == nil && filepath.IsAbs(guard) && filepath.Base(guard) == guardName &&
		strings.HasPrefix(p.text, earlierShim) && rest == "--hook "+hook+` "$@"`+"\n"
}

// earlierShim starts the shim of an earlier gatepass, which always ran the guard.
const earlierShim = "#!/bin/sh\nexec "

// isShimDir reports whether a value of core.hooksPath is a directory of our shims.
func (pl *planner) isShimDir(value string) bool {
	if value == pl.hooksDir {
		return true
	}
	p, err := pl.placeOf(value)
	if err != nil {
		return false
	}
	text, _, err := p.Child("pre-push").Read()
	return err == nil && isShim("pre-push", program{text: string(text)})
}

// planShims compares a directory with the shims wanted in it. It never replaces a file
// that is not ours.
func planShims(dir place.Place, seenAs string, want map[string]program) (Shims, error) {
	s := Shims{Dir: seenAs, place: dir, want: want}
	names, err := dir.Names()
	if err != nil {
		return s, wrapRead(dir.Shown, err)
	}
	for _, name := range names {
		is, _, err := readProgram(dir.Child(name))
		ours := err == nil && isShim(name, is)
		wanted, isWanted := want[name]
		switch {
		case !ours && isWanted:
			return s, usererr.New("write the shim "+dir.Child(name).Shown, "a file of that name does not belong to gatepass",
				"move it away")
		case !ours:
			s.Keep = append(s.Keep, name)
		case !isWanted:
			s.Remove = append(s.Remove, name)
		case is != wanted || !isRunnable(dir.Child(name)):
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

// isRunnable reports whether git may run the file. It does not check the target of a
// link.
func isRunnable(at place.Place) bool {
	info, err := at.Stat()
	return err == nil && (info.Mode().Type() == fs.ModeSymlink || info.Mode().Perm() == 0o755)
}

// readProgram reads a file in a directory of shims.
func readProgram(at place.Place) (is program, exists bool, err error) {
	info, err := at.Stat()
	if err != nil || info.Mode().Type() != fs.ModeSymlink {
		text, exists, err := at.Read()
		return program{text: string(text)}, exists, err
	}
	err = at.In(func(dir *os.Root, name string) error { is.link, err = dir.Readlink(name); return err })
	return is, err == nil, err
}
