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
	"github.com/gatepass/gatepass/workspace/profile"
)

// A Policy is one generation of the configuration of callers. It never changes: a reload
// makes another one. The zero Policy refuses every caller.
type Policy struct {
	Hash      string         // of the whole configuration
	Hosts     []string       // canonical names that git uses for the served GitHub
	Rules     []Rule         // the first match decides
	Operators []OperatorRule // none: no request is an operator's
}

// A Rule maps callers to a workspace and a profile.
type Rule struct {
	Name string     // such as "callers[0] ci", for audit and messages
	By   Identifier // authenticates the caller; rules may share one
	// Method is the method of the callers that By proves; "" if it is not known in advance.
	Method string
	Issuer string // the claim iss of those callers; "" if they have none
	// Match decides whether the rule applies to a caller; nil applies to all that By proves.
	Match     Matcher
	Workspace Template
	Profile   *profile.Profile
	// Tokens limits the tokens that a workspace of the rule gets.
	Tokens TokenLimit
	// Sleep is how long after its expiry a session for a join token can be renewed.
	Sleep time.Duration
	// Hash is of the rule's configuration, its name included. Gateway sessions end when it
	// changes.
	Hash string
}

// A Matcher decides whether a rule applies to a caller.
type Matcher interface {
	Match(Caller) (bool, error)
}

// Exactly matches claims to strings: every claim must be present and equal.
type Exactly map[string]string

// Match implements [Matcher].
func (m Exactly) Match(c Caller) (bool, error) {
	for path, want := range m {
		if got, ok := c.Claim(path); !ok || got != want {
			return false, nil
		}
	}
	return true, nil
}

// Patterns match whole claims to regular expressions.
type Patterns map[string]*regexp.Regexp

// Match implements [Matcher].
func (m Patterns) Match(c Caller) (bool, error) {
	for path, pattern := range m {
		if got, ok := c.Claim(path); !ok || !pattern.MatchString(got) {
			return false, nil
		}
	}
	return true, nil
}

// CompilePattern returns an expression that matches whole strings only. It compiles text
// alone first, so that unbalanced parentheses cannot escape the anchors.
func CompilePattern(text string) (*regexp.Regexp, error) {
	if _, err := regexp.Compile(text); err != nil {
		return nil, err
	}
	return regexp.Compile(`\A(?:` + text + `)\z`)
}

// Claims are the claims that it reads.
func (m Exactly) Claims() []string { return slices.Collect(maps.Keys(m)) }

// Claims are the claims that it reads.
func (m Patterns) Claims() []string { return slices.Collect(maps.Keys(m)) }

// All matches if all its matchers do.
type All []Matcher

// Match implements [Matcher].
func (m All) Match(c Caller) (bool, error) {
	for _, one := range m {
		if ok, err := one.Match(c); !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

// Claims are the claims that its matchers read.
func (m All) Claims() []string {
	var paths []string
	for _, one := range m {
		if looking, ok := one.(interface{ Claims() []string }); ok {
			paths = append(paths, looking.Claims()...)
		}
	}
	return paths
}

// proof is the result of one identifier for a request.
type proof struct {
	caller Caller
	err    error
}

// Resolve finds the workspace of a request by the first rule that matches. It calls each
// identifier once.
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
			invalid = worse(invalid, got.err)
			continue
		}
		isProved = true
		w, ok, err := p.apply(rule, got.caller)
		if ok && err == nil {
			err = got.caller.UseProof(ctx)
		}
		if err != nil {
			return Workspace{}, err
		}
		if ok {
			return w, nil
		}
	}
	if isProved {
		return Workspace{}, &Refusal{Status: http.StatusForbidden, Reason: ReasonRule, Detail: "no caller rule matches this identity"}
	}
	return Workspace{}, unauthenticated(invalid)
}

// worse returns the error to answer with. A refusal counts more than another error, and
// a refusal with a higher status (a proof that cannot be checked now) more than one
// with a lower. Of two other errors it returns the later.
func worse(earlier, later error) error {
	was, isRefusal := errors.AsType[*Refusal](earlier)
	if !isRefusal {
		return later
	}
	if is, ok := errors.AsType[*Refusal](later); ok && is.Status > was.Status {
		return later
	}
	return earlier
}

// unauthenticated is the answer to a request without a valid proof. invalid is why the proof
// is not valid or cannot be checked; nil means that there was none.
func unauthenticated(invalid error) *Refusal {
	if refusal, ok := errors.AsType[*Refusal](invalid); ok {
		return refusal
	}
	detail := "the request has no identity that the broker accepts"
	if invalid != nil {
		detail = usererr.Escape(usererr.Cut(invalid.Error(), maxDetail))
	}
	return &Refusal{Status: http.StatusUnauthorized, Reason: ReasonIdentity, Detail: detail}
}

// apply returns the workspace of a caller if the rule applies to it. If the rule matches and
// its template gives no ID, the request is refused and no later rule is tried.
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
		return Workspace{}, false, &Refusal{Status: http.StatusForbidden, Reason: ReasonRule, Detail: "this identity does not give a valid workspace ID: " + usererr.Escape(usererr.Cut(err.Error(), maxDetail))}
	}
	return Workspace{ID: id, Profile: rule.Profile, Rule: rule.Name, RuleHash: rule.Hash, Tokens: rule.Tokens, Sleep: rule.Sleep, Caller: c, Claims: rule.loggedClaims(c), Policy: p}, true, nil
}

// maxClaim is how many bytes of a claim are in the audit log.
const maxClaim = 200

// loggedClaims are the claims that the rule reads, shortened for the audit log.
func (rule Rule) loggedClaims(c Caller) map[string]string {
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

// FindRule returns the rule of that name with that [Rule.Hash].
func (p *Policy) FindRule(name, hash string) (Rule, bool) {
	i := slices.IndexFunc(p.Rules, func(r Rule) bool { return r.Name == name && r.Hash == hash })
	if i < 0 {
		return Rule{}, false
	}
	return p.Rules[i], true
}

// Serves reports whether the broker serves host.
func (p *Policy) Serves(host string) bool { return slices.Contains(p.Hosts, host) }

// A RuleResult is the result of one rule for a caller.
type RuleResult struct {
	Rule    string
	Matches bool
	Note    string // why not, unless a claim is the reason
}

// Explain returns the workspace that a caller with these claims would get, and the
// result of each rule up to the one that decides. An empty method means any method.
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
			said = append(said, RuleResult{Rule: rule.Name, Note: "it is for the issuer " + rule.Issuer + "; the claim iss must name it"})
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
	return Workspace{}, said, &Refusal{Status: http.StatusForbidden, Reason: ReasonRule, Detail: "no caller rule matches this identity"}
}

// An OperatorRule says who may see what was vended, and revoke it.
type OperatorRule struct {
	Name string // for audit and people
	// Key changes when the rule's configuration changes. A login lasts while a rule has its
	// key.
	Key   string
	By    Identifier
	Match Matcher // nil matches all that By proves
}

// An Operator is the proved sender of an operator's request.
type Operator struct {
	Name    string // of the rule
	Key     string
	Method  string
	Subject string
}

// Operator finds the operator of a request by the first rule that matches. Its error is a
// [*Refusal].
func (p *Policy) Operator(ctx context.Context, r *http.Request) (Operator, error) {
	if len(p.Operators) == 0 {
		return Operator{}, forbid(ReasonRule, "this broker has no operators; add operators to its configuration")
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
			invalid = worse(invalid, got.err)
			continue
		}
		isProved = true
		ok, err := matches(rule.Match, got.caller)
		if err != nil {
			return Operator{}, &Refusal{Status: http.StatusForbidden, Reason: ReasonRule, Detail: "a rule of the broker cannot be applied to this identity", Err: err}
		}
		if ok {
			if err := got.caller.UseProof(ctx); err != nil {
				return Operator{}, err
			}
			return Operator{Name: rule.Name, Key: rule.Key, Method: got.caller.Method, Subject: usererr.Cut(got.caller.Subject, maxDetail)}, nil
		}
	}
	if isProved {
		return Operator{}, forbid(ReasonRule, "no operator rule matches this identity")
	}
	return Operator{}, unauthenticated(invalid)
}

func matches(m Matcher, c Caller) (bool, error) {
	if m == nil {
		return true, nil
	}
	return m.Match(c)
}

// OperatorByKey returns the rule with that key, if there still is one.
func (p *Policy) OperatorByKey(key string) (OperatorRule, bool) {
	for _, rule := range p.Operators {
		if key != "" && rule.Key == key {
			return rule, true
		}
	}
	return OperatorRule{}, false
}
