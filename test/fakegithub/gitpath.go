package fakegithub

import "strings"

// The endpoints of smart HTTP.
const (
	infoRefs    = "info/refs"
	uploadPack  = "git-upload-pack"
	receivePack = "git-receive-pack"
)

// A gitPath is what the path of a smart-HTTP URL names.
type gitPath struct {
	owner, name string
	wiki        bool // NAME.wiki, a repository of its own
	endpoint    string
}

// parseGitPath reads /OWNER/NAME[.wiki][.git]/ENDPOINT from an escaped path.
// Nothing is decoded or cleaned, so each repository has two spellings of each
// endpoint, letter case aside.
func parseGitPath(escaped string) (gitPath, bool) {
	rest, ok := strings.CutPrefix(escaped, "/")
	if !ok {
		return gitPath{}, false
	}
	owner, rest, _ := strings.Cut(rest, "/")
	name, endpoint, _ := strings.Cut(rest, "/")
	if endpoint != infoRefs && endpoint != uploadPack && endpoint != receivePack {
		return gitPath{}, false
	}
	p := gitPath{owner: owner, endpoint: endpoint}
	name = cutSuffixFold(name, ".git")
	p.name = cutSuffixFold(name, ".wiki")
	p.wiki = p.name != name
	return p, validOwner(p.owner) && validRepository(p.name)
}

func cutSuffixFold(s, suffix string) string {
	if n := len(s) - len(suffix); n >= 0 && fold(s[n:]) == suffix {
		return s[:n]
	}
	return s
}

// fullName is the repository as GitHub's messages name it.
func (p gitPath) fullName() string {
	if p.wiki {
		return p.owner + "/" + p.name + ".wiki.git"
	}
	return p.owner + "/" + p.name + ".git"
}
