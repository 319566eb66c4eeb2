package ruleset

import "strings"

// fnmatch is Ruby's File.fnmatch(pattern, name, File::FNM_PATHNAME) for patterns
// without sets and backslashes, part by part.
func fnmatch(pattern, name string) bool {
	return matchParts(strings.Split(pattern, "/"), strings.Split(name, "/"))
}

func matchParts(patterns, names []string) bool {
	switch {
	case len(patterns) == 0:
		return len(names) == 0
	case patterns[0] == "**" && len(patterns) > 1:
		return matchParts(patterns[1:], names) || len(names) > 0 && !strings.HasPrefix(names[0], ".") && matchParts(patterns, names[1:])
	case len(names) == 0:
		return false
	}
	return matchPart(patterns[0], names[0]) && matchParts(patterns[1:], names[1:])
}

// matchPart knows * and ?; two stars count as one.
func matchPart(pattern, name string) bool {
	if pattern == "" {
		return name == ""
	}
	switch pattern[0] {
	case '*':
		return matchPart(pattern[1:], name) || name != "" && matchPart(pattern, name[1:])
	case '?':
		r := []rune(name)
		return len(r) > 0 && matchPart(pattern[1:], string(r[1:]))
	}
	return name != "" && name[0] == pattern[0] && matchPart(pattern[1:], name[1:])
}
