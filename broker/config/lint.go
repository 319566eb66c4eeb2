package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/identity"
)

// The levels of findings.
const (
	Failure = "failure" // certainly not what the author meant
	Warning = "warning" // probably not what the author meant
)

// A Finding is something in a file's rules that its author should check.
type Finding struct {
	Level string `json:"level"`
	Rule  string `json:"rule,omitempty"` // "" means the whole file
	Check string `json:"check"`          // the name of the check
	Text  string `json:"text"`           // what is wrong, and what to do
}

// Lint checks the rules of a file that [Load] accepted. It returns failures first.
func Lint(f *File) []Finding {
	l := &linter{findings: []Finding{}}
	for i, c := range f.Callers {
		l.rule = f.RuleName(i)
		l.reach(f, i)
		l.patterns(c)
		l.template(c)
		l.separators(c)
		l.collisions(f, i)
		if c.OIDC != nil {
			l.issuer(c)
		}
	}
	l.rule = ""
	l.profiles(f)
	slices.SortStableFunc(l.findings, func(a, b Finding) int { return strings.Compare(a.Level, b.Level) })
	return l.findings
}

type linter struct {
	rule     string
	findings []Finding
}

func (l *linter) add(level, check, format string, args ...any) {
	l.findings = append(l.findings, Finding{level, l.rule, check, fmt.Sprintf(format, args...)})
}

// reach finds rules that no caller reaches.
func (l *linter) reach(f *File, i int) {
	if why := contradiction(f.Callers[i]); why != "" {
		l.add(Failure, "never", "no caller can match it: %s; correct one of them", why)
	}
	if earlier, found := shadowedBy(f, i); found {
		l.add(Failure, "shadowed", "no caller reaches it: rule %s matches all its callers first; put the narrower rule first", earlier)
	}
}

// patterns finds patterns that do not mean what they seem to mean.
func (l *linter) patterns(c Caller) {
	for _, path := range sortedKeys(c.Claims) {
		pattern := c.Claims[path].Pattern
		if pattern == "" {
			continue
		}
		s := shapeOf(pattern)
		if s.anchors {
			l.add(Warning, "anchor", "claim %s: ^ and $ have no effect in %q: a pattern always matches the whole value; remove them", path, pattern)
		}
		if s.anyOne {
			l.add(Warning, "dot", "claim %s: a . in %q matches any character; write \\. for a dot", path, pattern)
		}
		if path == "sub" && s.crossing {
			l.add(Warning, "colon", "claim sub: a wildcard in %q crosses colons, into parts that the caller can choose; write [^:]+, or match the claims that sub consists of", pattern)
		}
	}
	for _, pattern := range conditionOf(c).LoosePatterns() {
		l.add(Warning, "anchor", "cel: matches(%q) also matches a part of the value; write ^ and $ around it", pattern)
	}
}

// issuer finds rules that accept too many tokens of an issuer.
func (l *linter) issuer(c Caller) {
	known, asked := issuerOf(c), checkedClaims(c)
	has := func(names []string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return asked[n] })
	}
	switch {
	case known.public && !has(known.ids):
		l.add(Failure, "open", "everyone can have tokens of %s, and names can be given to another account: match one of %s", known.title, strings.Join(known.ids, ", "))
	case len(asked) == 0:
		l.add(Warning, "open", "it matches every token of %s for this audience; match a claim", c.OIDC.Issuer)
	}
	for _, name := range sortedKeys(known.names) {
		if ids := known.names[name]; asked[name] && !has(ids) && !has(known.ids) {
			l.add(Warning, "name", "claim %s is a name that may belong to another account tomorrow; match %s", name, strings.Join(ids, " or "))
		}
	}
	l.audience(c, known)
}

func (l *linter) audience(c Caller, known issuer) {
	audience := c.OIDC.Audience
	switch {
	case known.usual(audience, c.OIDC.Issuer):
		l.add(Failure, "audience", "audience %q is this issuer's default: a token made for another service would be accepted here too; choose an audience for this broker", audience)
	case slices.Contains(others, audience):
		l.add(Warning, "audience", "audience %q belongs to another service, whose tokens would be accepted here too; choose an audience for this broker", audience)
	}
}

// checkedClaims returns the claims that a rule checks, by its claims or its condition.
func checkedClaims(c Caller) map[string]bool {
	asked := map[string]bool{}
	for path := range c.Claims {
		asked[path] = c.Claims[path].Pattern != ".*"
	}
	for _, name := range conditionOf(c).Claims() {
		asked[name] = true
	}
	return asked
}

// conditionOf returns the rule's condition. Without one it returns the zero Condition,
// which reads no claims.
func conditionOf(c Caller) *Condition {
	if compiled, err := Compile(c.CEL); err == nil {
		return compiled
	}
	return new(Condition)
}

// profiles finds profiles that no rule uses.
func (l *linter) profiles(f *File) {
	for _, name := range sortedKeys(f.ByName) {
		if !slices.ContainsFunc(f.Callers, func(c Caller) bool { return c.Profile == name }) {
			l.add(Warning, "profile", "no rule uses profile %q; remove its file from profiles, or add a rule", name)
		}
	}
	if len(f.Callers) == 0 {
		l.add(Warning, "empty", "there are no callers: every request is refused")
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// shadowedBy returns the first rule before i that matches every caller that rule i
// matches.
func shadowedBy(f *File, i int) (name string, found bool) {
	for j := range i {
		if sameProof(f.Callers[j], f.Callers[i]) && covers(f.Callers[j], f.Callers[i]) {
			return f.RuleName(j), true
		}
	}
	return "", false
}

// sameProof reports whether both rules accept the same proofs: their methods and
// settings are the same. Settings that are about claims do not count; covers compares
// those.
func sameProof(a, b Caller) bool {
	bare := func(c Caller) Caller {
		c.Name, c.Claims, c.CEL, c.Workspace, c.Profile = "", nil, "", "", ""
		if c.Socket != nil {
			c.Socket = new(identity.SocketSettings)
		}
		if c.MTLS != nil {
			same := *c.MTLS
			same.ID, c.MTLS = "", &same
		}
		return c
	}
	return reflect.DeepEqual(bare(a), bare(b))
}

// covers reports whether every caller that matches narrow matches wide: each condition
// of wide follows from one of narrow.
func covers(wide, narrow Caller) bool {
	if wide.CEL != "" && wide.CEL != narrow.CEL {
		return false
	}
	asked := claimsOf(narrow)
	for path, claim := range claimsOf(wide) {
		if !implies(claim, asked[path]) {
			return false
		}
	}
	return true
}

// claimsOf returns what a rule requires of claims, by its claims and its method's
// settings.
func claimsOf(c Caller) map[string]Claim {
	all := map[string]Claim{}
	for path, claim := range c.Claims {
		all[path] = claim
	}
	for path, text := range c.RequiredClaims() {
		all[path] = Claim{Text: text}
	}
	return all
}

// implies reports whether every text that matches narrow matches wide. The zero Claim
// means that the claim is not checked.
func implies(wide, narrow Claim) bool {
	switch {
	case narrow == Claim{}:
		return false
	case wide == narrow:
		return true
	case wide.Pattern == "":
		return false
	case narrow.Pattern != "":
		return wide.Pattern == ".*"
	}
	pattern, err := broker.CompilePattern(wide.Pattern)
	return err == nil && pattern.MatchString(narrow.Text)
}

// contradiction returns why a rule can match no caller, or "" if it can. It ignores the
// other rules.
func contradiction(c Caller) string {
	asked := c.RequiredClaims()
	if c.OIDC != nil {
		asked = broker.Exactly{"iss": c.OIDC.Issuer, "aud": c.OIDC.Audience}
	}
	for _, path := range sortedKeys(asked) {
		if claim, isAsked := c.Claims[path]; isAsked && !implies(claim, Claim{Text: asked[path]}) {
			return fmt.Sprintf("its claim %s is not %q, as %s requires", path, asked[path], methodKey(c))
		}
	}
	return ""
}

// methodKey returns what the file calls a rule's method.
func methodKey(c Caller) string {
	if c.Join != nil {
		return "its name"
	}
	return c.Method()
}
