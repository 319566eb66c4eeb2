package ruleset

import (
	"path"
	"slices"
	"strings"
)

// patterns says a policy's full pattern as patterns of File.fnmatch with
// FNM_PATHNAME (Ruby's documentation; GitHub names it in "Creating rulesets for
// a repository"), kept to refs/FOLDER/. There "**/" at the start of a part is
// any number of parts, and every other "**" no more than "*".
func patterns(full, folder string) []string {
	var all []string
	for _, p := range within(full, folder) {
		all = append(all, spread(p)...)
	}
	return all
}

// within keeps a full pattern to refs/FOLDER/: the first part after refs/ is
// made the folder's name where it can match it. A "**" that is only some of
// that part is not taken apart; such a pattern is lost.
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
		kept := within("refs/"+rest, folder) // where ** stands for no part
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

// spread replaces each "**" that fnmatch would read otherwise. At the end of a
// pattern it becomes "**/*". Within a part it becomes two patterns: one where it
// holds no slash, and one where it holds at least one.
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
