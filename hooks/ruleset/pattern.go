package ruleset

import (
	"path"
	"slices"
	"strings"
)

// patterns converts a policy's full pattern to patterns of File.fnmatch with
// FNM_PATHNAME (Ruby's documentation; GitHub names it in "Creating rulesets for a
// repository"), limited to refs/FOLDER/. In those, "**/" at the start of a part matches
// any number of parts, and every other "**" is the same as "*".
func patterns(full, folder string) []string {
	var all []string
	for _, p := range within(full, folder) {
		all = append(all, spread(p)...)
	}
	return all
}

// within limits a full pattern to refs/FOLDER/: it replaces the first part after refs/
// by the folder's name, if it can match that name. It cannot split a "**" that is only
// a piece of that part; such a pattern is lost.
func within(full, folder string) []string {
	rest, ok := strings.CutPrefix(full, "refs/")
	first, rest, more := strings.Cut(rest, "/")
	inFolder := "refs/" + folder + "/"
	switch {
	case !ok:
		return nil
	case first == "**" && !more:
		return []string{inFolder + "**"}
	case first == "**":
		kept := within("refs/"+rest, folder) // for a ** that matches no part
		if any := inFolder + "**/" + rest; !slices.Contains(kept, any) {
			kept = append(kept, any)
		}
		return kept
	case !more || strings.Contains(first, "**"):
		return nil
	}
	if named, err := path.Match(first, folder); err != nil || !named {
		return nil
	}
	return []string{inFolder + rest}
}

// spread replaces each "**" that fnmatch would read differently. At the end of a
// pattern it becomes "**/*". Within a part it becomes two patterns: one in which it
// matches no slash, and one in which it matches at least one.
func spread(pattern string) []string {
	parts := strings.Split(pattern, "/")
	for i, part := range parts {
		last := i == len(parts)-1
		if part == "**" && !last {
			continue
		}
		before, after, found := strings.Cut(part, "**")
		if !found {
			continue
		}
		with := func(part string) string {
			return strings.Join(slices.Concat(parts[:i], []string{part}, parts[i+1:]), "/")
		}
		if part == "**" {
			return []string{with("**/*")}
		}
		return slices.Concat(spread(with(before+"*"+after)), spread(with(before+"*/**/*"+after)))
	}
	return []string{pattern}
}
