package install

import (
	"bufio"
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// A Choice is how the guard is run by the gits that read one file, and why.
//
// Git 2.54 and later run hook.gatepass.* by themselves, beside any hooks
// directory: nothing of the repository's is shadowed, and a tool that sets its
// own core.hooksPath (husky) does not displace the guard. Older git ignores
// those variables and needs core.hooksPath with shims, which shadows every hook
// of every repository and therefore dispatches to them. So each file gets what
// its gits need, and both where they differ or where a version is not known:
// the old ignore the one, and the new at worst run the guard twice.
type Choice struct {
	File string `json:"file"`
	Kind Guard  `json:"guard"`
	Why  string `json:"why"`
}

func (pl *planner) choose(t target) Choice {
	if pl.Guard != GuardAuto {
		return Choice{Kind: pl.Guard, Why: "as asked"}
	}
	if pl.Scope == Image {
		v, where := pl.imageGit()
		if where == "" {
			return Choice{Kind: GuardBoth, Why: "the version of git inside is not known"}
		}
		return decide([]version{v}, "git "+v.String()+" inside ("+where+")")
	}
	var versions []version
	var texts []string
	for _, g := range t.gits {
		versions = append(versions, g.version)
		texts = append(texts, fmt.Sprintf("git %s (%s)", g.version, g.path))
	}
	return decide(versions, strings.Join(texts, ", "))
}

func decide(versions []version, seen string) Choice {
	modern := func(v version) bool { return v.known() && !v.before(configuredHooks) }
	old := func(v version) bool { return v.known() && v.before(configuredHooks) }
	switch {
	case len(versions) == 0 || slices.ContainsFunc(versions, func(v version) bool { return !v.known() }):
		return Choice{Kind: GuardBoth, Why: seen + ": not all versions are known"}
	case !slices.ContainsFunc(versions, old):
		return Choice{Kind: GuardHook, Why: seen + " has configured hooks"}
	case !slices.ContainsFunc(versions, modern):
		return Choice{Kind: GuardHooksPath, Why: seen + " has no configured hooks (before 2.54)"}
	}
	return Choice{Kind: GuardBoth, Why: seen + ": only some have configured hooks (2.54)"}
}

// gitPackages are the databases of Debian's and Alpine's package managers, and
// how a record of each begins and says its version.
var gitPackages = []struct{ file, name, version string }{
	{"/var/lib/dpkg/status", "Package: git", "Version: "},
	{"/lib/apk/db/installed", "P:git", "V:"},
	{"/usr/lib/apk/db/installed", "P:git", "V:"},
}

// imageGit says which git an image has, by its package database: nothing of an
// image is run. A git beside the packaged one makes it unknown.
func (pl *planner) imageGit() (v version, where string) {
	if len(pl.imageGits) > 0 {
		return version{}, ""
	}
	for _, db := range gitPackages {
		p, err := imagePlace(pl.image, db.file)
		if err != nil {
			continue
		}
		content, _, err := p.read()
		if err != nil {
			continue
		}
		if v := packageVersion(content, db.name, db.version); v.known() {
			return v, db.file
		}
	}
	return version{}, ""
}

// packageVersion finds the version in the record that has the line name.
// Records are separated by empty lines.
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

// debianVersion drops the epoch that Debian puts before a version.
func debianVersion(s string) version {
	if _, rest, ok := strings.Cut(s, ":"); ok {
		s = rest
	}
	return parseVersion(s)
}
