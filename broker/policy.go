package broker

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/workspace"
)

// A Policy is one generation of what the configuration says about callers. It
// is never changed; a reload makes another. The zero Policy refuses everybody.
type Policy struct {
	Hash      string         // of everything that it was made from
	Hosts     []string       // canonical; what git calls the GitHub that is served
	Rules     []Rule         // the first that matches decides
	Operators []OperatorRule // none means that there are no operators
}

// A Rule gives callers a workspace and a profile.
type Rule struct {
	Name string     // "callers[0] ci", for audit and messages
	By   Identifier // proves the caller; rules may share one
	// Method is the Method of the callers that By proves; "" where that is not
	// known beforehand.
	Method string
	Issuer string // the claim iss of those callers; "" where they have none
	// Match says whether the rule is for a caller; nil is for everybody that By
	// proves.
	Match     Matcher
	Workspace Template
	Profile   *workspace.Profile
	// Tokens is the most that a workspace of the rule is given.
	Tokens TokenLimit
	// Sleep is how long after its end a session for a join token can be renewed.
	Sleep time.Duration
	// Hash is of what the configuration says of the rule, its name included. A session
	// of the gateway ends when it changes.
	Hash string
}

// A Matcher decides about what was proved.
type Matcher interface {
	Match(Caller) (bool, error)
}

// Exactly matches claims to texts: all of them have to be there and be equal.
type Exactly map[string]string

// Match implements Matcher.
func (m Exactly) Match(c Caller) (bool, error) {
	for path, want := range m {
		if got, ok := c.Claim(path); !ok || got != want {
			return false, nil
		}
	}
	return true, nil
}

// Patterns match claims to expressions that are anchored at both ends.
type Patterns map[string]*regexp.Regexp

// Match implements Matcher.
func (m Patterns) Match(c Caller) (bool, error) {
	for path, pattern := range m {
		if got, ok := c.Claim(path); !ok || !pattern.MatchString(got) {
			return false, nil
		}
	}
	return true, nil
}

// CompilePattern returns an expression that matches whole texts only. It is
// compiled alone first, so that an unbalanced one cannot escape the anchors.
func CompilePattern(text string) (*regexp.Regexp, error) {
	if _, err := regexp.Compile(text); err != nil {
		return nil, err
	}
	return regexp.Compile(`\A(?:` + text + `)\z`)
}

// Claims are the claims that are looked at.
func (m Exactly) Claims() []string { return slices.Collect(maps.Keys(m)) }

// Claims are the claims that are looked at.
func (m Patterns) Claims() []string { return slices.Collect(maps.Keys(m)) }

// All matches where all of its matchers do.
type All []Matcher

// Match implements Matcher.
func (m All) Match(c Caller) (bool, error) {
	for _, one := range m {
		if ok, err := one.Match(c); !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

// Claims are the claims that its matchers say they look at.
func (m All) Claims() []string {
	var paths []string
	for _, one := range m {
		if looking, ok := one.(interface{ Claims() []string }); ok {
			paths = append(paths, looking.Claims()...)
		}
	}
	return paths
}

// proof is what one identifier made of a request.
type proof struct {
	caller Caller
	err    error
}

// Resolve finds out which workspace sent a request, by the first rule that
// matches. Each identifier is asked once.
func (p *Policy) Resolve(ctx context.Context, r *http.Request) (Workspace, error) {
	proofs := map[Identifier]proof{}
	var invalid error
	isProved := false
	for _, rule := range p.Rules {
		got, asked := proofs[rule.By]
		if !asked {
			got.caller, got.err = rule.By.Identify(ctx, r)
			proofs[rule.By] = got
		}
		switch {
		case errors.Is(got.err, ErrNoProof):
			continue
		case got.err != nil:
			invalid = graver(invalid, got.err)
			continue
		}
		isProved = true
		w, ok, err := p.apply(rule, got.caller)
		if ok && err == nil {
			err = got.caller.Use(ctx)
		}
		if err != nil {
			return Workspace{}, err
		}
		if ok {
			return w, nil
		}
	}
	if isProved {
		return Workspace{}, &Refusal{Status: http.StatusForbidden, Reason: ReasonRule, Detail: "no rule of the broker is for this identity"}
	}
	return Workspace{}, unproved(invalid)
}

// graver returns the one of two reasons to answer with: that a proof cannot be looked
// at now, or else one with more of it for the log, or else the later one.
func graver(earlier, later error) error {
	was, isRefusal := errors.AsType[*Refusal](earlier)
	if !isRefusal {
		return later
	}
	if is, ok := errors.AsType[*Refusal](later); ok && is.Status > was.Status {
		return later
	}
	return earlier
}

// unproved is the answer to a request that proves nothing. invalid is why its
// proof does not hold, or that this cannot be found out now; nil says that it has
// none.
func unproved(invalid error) *Refusal {
	if refusal, ok := errors.AsType[*Refusal](invalid); ok {
		return refusal
	}
	detail := "the request carries no identity that the broker knows"
	if invalid != nil {
		detail = usererr.Escape(usererr.Cut(invalid.Error(), maxDetail))
	}
	return &Refusal{Status: http.StatusUnauthorized, Reason: ReasonIdentity, Detail: detail}
}

// apply gives the caller what the rule says, if it is for the caller. A rule
// that matches and makes no workspace refuses; later ones are not tried.
func (p *Policy) apply(rule Rule, c Caller) (Workspace, bool, error) {
	if rule.Match != nil {
		ok, err := rule.Match.Match(c)
		if err != nil {
			return Workspace{}, false, &Refusal{Status: http.StatusForbidden, Reason: ReasonRule, Detail: "a rule of the broker cannot be applied to this identity", Err: err}
		}
		if !ok {
			return Workspace{}, false, nil
		}
	}
	id, err := rule.Workspace.ID(c)
	if err != nil {
		return Workspace{}, false, &Refusal{Status: http.StatusForbidden, Reason: ReasonRule, Detail: "this identity makes no workspace's id: " + usererr.Escape(usererr.Cut(err.Error(), maxDetail))}
	}
	return Workspace{ID: id, Profile: rule.Profile, Rule: rule.Name, RuleHash: rule.Hash, Tokens: rule.Tokens, Sleep: rule.Sleep, Caller: c, Claims: rule.looked(c), Policy: p}, true, nil
}

// maxClaim bounds a claim in the audit log, in bytes.
const maxClaim = 200

// looked are the claims that the rule looks at, and what they say.
func (rule Rule) looked(c Caller) map[string]string {
	paths := rule.Workspace.Claims()
	if looking, ok := rule.Match.(interface{ Claims() []string }); ok {
		paths = append(paths, looking.Claims()...)
	}
	claims := map[string]string{}
	for _, path := range paths {
		if text, ok := c.Claim(path); ok {
			claims[path] = usererr.Cut(text, maxClaim)
		}
	}
	return claims
}

// FindRule returns the rule of that name and [Rule.Hash].
func (p *Policy) FindRule(name, hash string) (Rule, bool) {
	i := slices.IndexFunc(p.Rules, func(r Rule) bool { return r.Name == name && r.Hash == hash })
	if i < 0 {
		return Rule{}, false
	}
	return p.Rules[i], true
}

// Serves reports whether host is one of those the broker answers for.
func (p *Policy) Serves(host string) bool { return slices.Contains(p.Hosts, host) }

// A Verdict is what one rule says of a caller.
type RuleResult struct {
	Rule    string
	Matches bool
	Note    string // why it does not, where that is no claim
}

// Try finds out which workspace a caller would be, had it proved these claims,
// and what each rule said up to the one that decides. A caller without a method
// may have proved itself by any.
func (p *Policy) Explain(method string, claims map[string]any) (Workspace, []RuleResult, error) {
	var said []RuleResult
	for _, rule := range p.Rules {
		c, err := NewCaller(cmp.Or(method, rule.Method), claims)
		if err != nil {
			return Workspace{}, said, &Refusal{Status: http.StatusUnauthorized, Reason: ReasonIdentity, Detail: usererr.Escape(err.Error())}
		}
		if rule.Method != "" && rule.Method != c.Method {
			said = append(said, RuleResult{Rule: rule.Name, Note: "it is for " + rule.Method})
			continue
		}
		if issuer, _ := c.Claim("iss"); rule.Issuer != "" && issuer != rule.Issuer {
			said = append(said, RuleResult{Rule: rule.Name, Note: "it is for the issuer " + rule.Issuer + ", which the claim iss has to say"})
			continue
		}
		w, ok, err := p.apply(rule, c)
		v := RuleResult{Rule: rule.Name, Matches: ok || err != nil}
		if err != nil {
			v.Note = RefusalOf(err).Detail
		}
		said = append(said, v)
		if ok || err != nil {
			return w, said, err
		}
	}
	return Workspace{}, said, &Refusal{Status: http.StatusForbidden, Reason: ReasonRule, Detail: "no rule of the broker is for this identity"}
}

// An OperatorRule says who may look at what was given, and take it away.
type OperatorRule struct {
	Name string // for audit and people
	// Key is another when the rule says something else. Who logged in by a rule
	// stays so for as long as there is one with that key.
	Key   string
	By    Identifier
	Match Matcher // nil is for everybody that By proves
}

// An Operator is who an operator's request comes from.
type Operator struct {
	Name    string // of the rule
	Key     string
	Method  string
	Subject string
}

// Operator finds out which operator sent a request, by the first rule that
// matches. Its error is a [*Refusal]. Without rules there are no operators.
func (p *Policy) Operator(ctx context.Context, r *http.Request) (Operator, error) {
	if len(p.Operators) == 0 {
		return Operator{}, forbid(ReasonRule, "this broker has no operators; its configuration names none")
	}
	proofs := map[Identifier]proof{}
	var invalid error
	isProved := false
	for _, rule := range p.Operators {
		got, asked := proofs[rule.By]
		if !asked {
			got.caller, got.err = rule.By.Identify(ctx, r)
			proofs[rule.By] = got
		}
		if errors.Is(got.err, ErrNoProof) {
			continue
		}
		if got.err != nil {
			invalid = graver(invalid, got.err)
			continue
		}
		isProved = true
		ok, err := matches(rule.Match, got.caller)
		if err != nil {
			return Operator{}, &Refusal{Status: http.StatusForbidden, Reason: ReasonRule, Detail: "a rule of the broker cannot be applied to this identity", Err: err}
		}
		if ok {
			if err := got.caller.Use(ctx); err != nil {
				return Operator{}, err
			}
			return Operator{Name: rule.Name, Key: rule.Key, Method: got.caller.Method, Subject: usererr.Cut(got.caller.Subject, maxDetail)}, nil
		}
	}
	if isProved {
		return Operator{}, forbid(ReasonRule, "this identity is no operator's")
	}
	return Operator{}, unproved(invalid)
}

func matches(m Matcher, c Caller) (bool, error) {
	if m == nil {
		return true, nil
	}
	return m.Match(c)
}

// OperatorByKey returns the rule that somebody logged in by, if it still stands.
func (p *Policy) OperatorByKey(key string) (OperatorRule, bool) {
	for _, rule := range p.Operators {
		if key != "" && rule.Key == key {
			return rule, true
		}
	}
	return OperatorRule{}, false
}
