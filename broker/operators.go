package broker

import (
	"context"
	"errors"
	"net/http"

	"github.com/gatepass/gatepass/internal/usererr"
)

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
