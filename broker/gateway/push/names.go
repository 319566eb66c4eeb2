package push

import (
	"fmt"
	"strings"

	"github.com/gatepass/gatepass/hooks/refs"
)

const (
	heads = "refs/heads/"
	tags  = "refs/tags/"

	// maxName is the longest name of a branch or tag, in bytes. GitHub refuses longer
	// names (GH002), and matching a pattern takes much longer for a long name.
	maxName = 255
)

// names checks the names of refs, for every verb. git accepts names that break clones on
// case-insensitive systems, are mistaken for other refs, or inject commands into scripts.
type names struct {
	policy *refs.Policy
	// protected are short names by their lower case: those that a rule without wildcards
	// names, main and master.
	protected map[string]string
	exact     map[string]bool // full names that a rule without wildcards names
	branches  map[string]bool // short names of the branches in this push
}

func namesFor(policy *refs.Policy, commands []Command) *names {
	n := &names{policy: policy, protected: map[string]string{"main": "main", "master": "master"}, exact: map[string]bool{}, branches: map[string]bool{}}
	for _, rule := range policy.Rules() {
		if strings.ContainsAny(rule.Full, "*?") {
			continue
		}
		n.exact[rule.Full] = true
		if short, ok := strings.CutPrefix(rule.Full, heads); ok {
			n.protected[lower(short)] = short
		}
	}
	for _, c := range commands {
		if short, ok := strings.CutPrefix(c.Ref, heads); ok {
			n.branches[short] = true
		}
	}
	return n
}

// check returns why a valid name may not be pushed, or "".
func (n *names) check(ref string) string {
	short, isTag := strings.CutPrefix(ref, tags)
	if !isTag {
		var isBranch bool
		if short, isBranch = strings.CutPrefix(ref, heads); !isBranch {
			return "only branches and tags may be pushed"
		}
	}
	folded := lower(short)
	switch {
	case len(short) > maxName:
		return "its name is longer than the 255 bytes that GitHub allows"
	case folded == "head":
		return "the name HEAD is ambiguous"
	case strings.HasPrefix(folded, "refs/"):
		return "a name that starts with refs/ is ambiguous"
	case isOID(folded):
		return "a name of 40 or 64 hex digits looks like an object ID"
	}
	if why := n.checkAlike(short, folded, isTag); why != "" && !n.exact[ref] {
		return why
	}
	return n.checkCharacters(ref)
}

// checkAlike refuses names that systems or people mistake for another ref.
func (n *names) checkAlike(short, folded string, isTag bool) string {
	other, isProtected := n.protected[folded]
	switch {
	case isTag && isProtected:
		return "the tag has the name of branch " + other
	case isTag && n.branches[short]:
		return "this push has a branch of the same name"
	case isProtected && other != short:
		return "it differs from branch " + other + " in case only"
	}
	return ""
}

// checkCharacters refuses characters that break or attack scripts. A rule that matches the
// name allows such a character if the rule itself has it, outside of its wildcards.
func (n *names) checkCharacters(ref string) string {
	var literals string // of all rules that match; read when the first is missing
	for i, r := range ref {
		startsWithDash := r == '-' && ref[i-1] == '/'
		if isPlain(r) && !startsWithDash {
			continue
		}
		odd := string(r)
		if startsWithDash {
			odd = "/-"
		}
		if literals == "" {
			literals = n.literals(ref)
		}
		if !strings.Contains(literals, odd) {
			return fmt.Sprintf("the name has %q; wildcards match letters, digits and . _ / - only, and no - at the start of a part", odd)
		}
	}
	return ""
}

func (n *names) literals(ref string) string {
	var b strings.Builder
	for _, rule := range n.policy.Matching(ref) {
		b.WriteString(strings.NewReplacer("*", "\n", "?", "\n").Replace(rule.Full) + "\n")
	}
	return b.String()
}

func isPlain(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("._/-", r)
}

// lower folds ASCII only: other letters are not plain, and strings.ToLower makes a k of
// the Kelvin sign.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
