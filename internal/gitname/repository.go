package gitname

import "strings"

// A Repo is a repository at GitHub. Those that [Repository] and [Path] return are in
// lower case, so that two Repos of the same repository are equal.
type Repo struct{ Owner, Name string }

// String returns owner/name, and "" for the zero Repo.
func (r Repo) String() string {
	if r == (Repo{}) {
		return ""
	}
	return r.Owner + "/" + r.Name
}

// MarshalText returns owner/name, for JSON.
func (r Repo) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// IsValid reports whether [Repository] returns r for the text of r.
func (r Repo) IsValid() bool {
	same, ok := Repository(r.String())
	return ok && same == r
}

// Repository splits full, which must be exactly owner/name, in any case. ok is false
// for everything else, and also for a name from which [Path] would remove a suffix, in
// any case.
func Repository(full string) (r Repo, ok bool) {
	owner, name, ok := Path(Fold(full))
	if !ok || len(full) != len(owner)+len("/")+len(name) {
		return Repo{}, false
	}
	return Repo{owner, name}, true
}

// Path returns the owner and name in the path of a git URL, in lower case. It removes
// what git and related tools add: ".git", the LFS endpoint "/info/lfs…", a wiki's
// ".wiki", a query or fragment. ok is false for a path that is not owner/name or that
// another reader could read differently (with ".", "..", "//", percent signs or
// backslashes anywhere).
func Path(path string) (owner, name string, ok bool) {
	if isAmbiguous(path) {
		return "", "", false
	}
	path, _, _ = strings.Cut(path, "?")
	path, _, _ = strings.Cut(path, "#")
	path = strings.TrimSuffix(path, "/")
	if i := strings.Index(path, "/info/lfs"); i >= 0 && endsSegment(path[i+len("/info/lfs"):]) {
		path = path[:i]
	}
	owner, name, _ = strings.Cut(path, "/")
	name = strings.TrimSuffix(strings.TrimSuffix(name, ".git"), ".wiki")
	if !validOwner(owner) || !validRepo(name) {
		return "", "", false
	}
	return Fold(owner), Fold(name), true
}

// isAmbiguous checks the whole path, including what is removed: git has decoded the
// percent-encoding, so "acme/widgets?/../../other/repo" can have been
// "acme/widgets%3f/../..", and curl would then request other/repo.
func isAmbiguous(path string) bool {
	if strings.ContainsAny(path, `%\`) || strings.Contains(path, "//") {
		return true
	}
	for segment := range strings.FieldsFuncSeq(path, func(r rune) bool { return r == '/' || r == '?' || r == '#' }) {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

func endsSegment(rest string) bool { return rest == "" || rest[0] == '/' }

// validOwner accepts GitHub's account names: letters, digits and hyphens, and the
// underscore of enterprise-managed users.
func validOwner(s string) bool {
	if s == "" || len(s) > 39 || s[0] == '-' {
		return false
	}
	for i := 0; i < len(s); i++ {
		if !isAlnum(s[i]) && s[i] != '-' && s[i] != '_' {
			return false
		}
	}
	return true
}

func validRepo(s string) bool {
	if s == "" || len(s) > 100 || s == "." || s == ".." {
		return false
	}
	for i := 0; i < len(s); i++ {
		if !isAlnum(s[i]) && s[i] != '-' && s[i] != '_' && s[i] != '.' {
			return false
		}
	}
	return true
}
