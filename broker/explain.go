package broker

import (
	"cmp"
	"net/http"

	"github.com/gatepass/gatepass/internal/usererr"
)

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
