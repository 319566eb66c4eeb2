package install

import (
	"bufio"
	"bytes"
	"fmt"
	"slices"
	"strings"
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

// gitPackages are the databases of Debian's and Alpine's package managers, and how a
// record in each begins and states its version.
var gitPackages = []struct{ file, name, version string }{
	{"/var/lib/dpkg/status", "Package: git", "Version: "},
	{"/lib/apk/db/installed", "P:git", "V:"},
	{"/usr/lib/apk/db/installed", "P:git", "V:"},
}

// imageGit finds an image's git in its package database, because it runs no program of
// an image. If there is a git beside the packaged one, the version is unknown.
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
