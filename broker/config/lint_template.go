package config

import (
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/identity"
	"github.com/gatepass/gatepass/broker/identity/aws"
)

// Separator names the check for templates in which two claims can run together.
const Separator = "separator"

// template finds workspace ids that a caller can choose: it would get another caller's
// workspace, and be revoked with it.
func (l *linter) template(c Caller) {
	known := issuerOf(c)
	var chosen []string
	for _, path := range broker.Template(c.Workspace).Claims() {
		claim := c.Claims[path]
		switch {
		case known.isChosen(path) && claim.Text == "":
			chosen = append(chosen, path)
		case !known.isChosen(path):
			return // other callers have other ids
		}
	}
	if len(chosen) > 0 {
		l.add(Warning, "template", "workspace %q contains claim %s, which callers of %s choose; add the claim of an ID, or match the claim exactly", c.Workspace, strings.Join(chosen, " and "), known.title)
	}
}

// separators finds claims that may contain the separator after them: "a-b" and "c"
// would make the same id as "a" and "b-c", so the broker refuses the first.
func (l *linter) separators(c Caller) {
	parts, _ := broker.Template(c.Workspace).Parts() // was checked
	for i, p := range parts[:len(parts)-1] {
		separator := parts[i+1].Text
		if parts[i+1].Claim == "" {
			continue
		}
		if text := c.Claims[p.Claim].Text; text != "" && broker.Separates(separator, text) {
			continue
		}
		if strings.ContainsRune(alphabetOf(c, p.Claim), rune(separator[0])) {
			l.add(Failure, Separator, "workspace %q: claim %s may contain %q, so two callers could share an ID; such callers are refused: write a separator that the claim cannot contain, or match the claim with a pattern without it", c.Workspace, p.Claim, separator)
		}
	}
}

// collisions finds pairs of rules that can make one id from different claims. It skips
// ids without claims, and those that a join token names, because these are intended.
func (l *linter) collisions(f *File, i int) {
	c := f.Callers[i]
	if len(broker.Template(c.Workspace).Claims()) == 0 || isNamed(c) {
		return
	}
	for j, other := range f.Callers {
		isLater := j > i && len(broker.Template(other.Workspace).Claims()) > 0 // and says it
		if j == i || isLater || isNamed(other) || sameMeaning(c, other) {
			continue
		}
		if overlap(elementsOf(c), elementsOf(other)) {
			l.add(Failure, "collision", "workspace %q can equal the ID that rule %s builds from other claims (%q): both would be blocked and counted together; begin one of them with another text", c.Workspace, f.RuleName(j), other.Workspace)
		}
	}
}

// isNamed reports whether the join token names the workspace.
func isNamed(c Caller) bool {
	return c.Join != nil && slices.Contains(broker.Template(c.Workspace).Claims(), "workspace")
}

// sameMeaning reports whether two rules make an id from the same claims of the same
// issuer: their templates are equal, or equal after one rule's fixed claims are filled
// in.
func sameMeaning(a, b Caller) bool {
	if a.Method() != b.Method() || issuerURL(a) != issuerURL(b) {
		return false
	}
	return a.Workspace == b.Workspace || filled(a.Workspace, b) == b.Workspace || filled(b.Workspace, a) == a.Workspace
}

func issuerURL(c Caller) string {
	if c.OIDC == nil {
		return ""
	}
	return c.OIDC.Issuer
}

// filled returns the template with the claims filled in that the rule matches exactly.
func filled(template string, by Caller) string {
	for path, claim := range claimsOf(by) {
		if claim.Text != "" {
			template = strings.ReplaceAll(template, "{claim."+path+"}", claim.Text)
		}
	}
	return template
}

// An element is one character of an id, out of a set. It may repeat any number of
// times.
type element struct {
	set     string
	repeats bool
}

// elementsOf returns the form of all ids that a rule makes.
func elementsOf(c Caller) []element {
	var all []element
	parts, _ := broker.Template(filled(c.Workspace, c)).Parts() // was checked
	for _, p := range parts {
		for _, letter := range p.Text {
			all = append(all, element{set: string(letter)})
		}
		if p.Claim != "" {
			all = append(all, element{set: alphabetOf(c, p.Claim), repeats: true})
		}
	}
	return all
}

// overlap reports whether some text has both forms.
func overlap(a, b []element) bool {
	tried := map[[2]int]bool{}
	var from func(i, j int) bool
	from = func(i, j int) bool {
		if at := [2]int{i, j}; tried[at] {
			return false
		} else {
			tried[at] = true
		}
		if i == len(a) && j == len(b) {
			return true
		}
		if i < len(a) && a[i].repeats && from(i+1, j) || j < len(b) && b[j].repeats && from(i, j+1) {
			return true
		}
		if i == len(a) || j == len(b) || !strings.ContainsAny(a[i].set, b[j].set) {
			return false
		}
		next := func(n int, e element) int {
			if e.repeats {
				return n
			}
			return n + 1
		}
		return from(next(i, a[i]), next(j, b[j]))
	}
	return from(0, 0)
}

const (
	digits    = "0123456789"
	hexDigits = digits + "abcdef"
	lower     = "abcdefghijklmnopqrstuvwxyz"
	letters   = lower + "ABCDEFGHIJKLMNOPQRSTUVWXYZ" + digits
	ofIDs     = letters + "._-"
)

// alphabetOf returns every id character that the claim may contain.
func alphabetOf(c Caller, path string) string {
	alphabet := ofIDs
	if known := knownAlphabet(c, path); known != "" {
		alphabet = known
	}
	pattern := claimsOf(c)[path].Pattern
	re, err := syntax.Parse(pattern, syntax.Perl)
	if pattern == "" || err != nil {
		return alphabet
	}
	return strings.Map(func(r rune) rune {
		if mayContain(re, r) {
			return r
		}
		return -1
	}, alphabet)
}

// mayContain reports whether a text that re matches may contain r.
func mayContain(re *syntax.Regexp, r rune) bool {
	switch re.Op {
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return true
	case syntax.OpLiteral:
		return slices.ContainsFunc(re.Rune, func(have rune) bool {
			return have == r || re.Flags&syntax.FoldCase != 0 && strings.EqualFold(string(have), string(r))
		})
	case syntax.OpCharClass:
		return hasRune(re.Rune, r)
	}
	return slices.ContainsFunc(re.Sub, func(sub *syntax.Regexp) bool { return mayContain(sub, r) })
}

// knownAlphabet returns the characters that a claim is known to be limited to; "" if
// unknown.
func knownAlphabet(c Caller, path string) string {
	if inside, ok := strings.CutPrefix(path, "kubernetes.io/"); ok && c.OIDC != nil {
		return map[string]string{ // https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
			"namespace": lower + digits + "-", "pod/uid": hexDigits + "-", "node/uid": hexDigits + "-", "serviceaccount/uid": hexDigits + "-",
			"pod/name": lower + digits + "-.", "node/name": lower + digits + "-.", "serviceaccount/name": lower + digits + "-.",
		}[inside]
	}
	if c.OIDC != nil {
		return issuerOf(c).alphabets[path]
	}
	return map[string]map[string]string{
		"socket":            {"uid": digits, "gid": digits, "pid": digits},
		aws.Method:          {"account": digits, "user_id": letters},
		identity.MTLSMethod: {"serial": hexDigits, "fingerprint": hexDigits, "trust_domain": lower + digits + "._-"},
		identity.JoinMethod: {"join": hexDigits},
	}[c.Method()][path]
}
