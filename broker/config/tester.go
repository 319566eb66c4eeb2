package config

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/identity"
	"github.com/gatepass/gatepass/broker/identity/aws"
	"github.com/gatepass/gatepass/broker/identity/oidc"
	"github.com/gatepass/gatepass/internal/gitname"
)

// A Tester tries cases on the policy of a file, as a broker would: the rules, the
// profiles and the decisions are its own. Only what a case gives is not proved
// but believed.
type Tester struct {
	policy  *broker.Policy
	current *Given
}

// NewTester returns a Tester of a file that [Load] checked.
func NewTester(f *File) (*Tester, error) {
	t := &Tester{current: new(Given)}
	var err error
	t.policy, err = f.PolicyBy(func(c Caller) (broker.Identifier, error) {
		b := believer{current: t.current, method: c.Method()}
		if c.OIDC != nil {
			b.issuer, b.audience = c.OIDC.Issuer, c.OIDC.Audience
		}
		if c.MTLS != nil {
			b.trustDomain = c.MTLS.TrustDomain
		}
		return b, nil
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

// A believer takes what a case gives as proved, where a rule of its kind would, and
// makes the caller of it with the code that makes it of a proof.
type believer struct {
	current                               *Given
	method, issuer, audience, trustDomain string
}

// Identify implements [broker.Identifier].
func (b believer) Identify(context.Context, *http.Request) (broker.Caller, error) {
	g := b.current
	if g.Method != b.method || g.Issuer != b.issuer {
		return broker.Caller{}, broker.ErrNoProof
	}
	if g.Audience != "" && g.Audience != b.audience {
		return broker.Caller{}, errors.New("the token is for another audience")
	}
	claims := map[string]any{}
	if g.Claims != nil {
		maps.Copy(claims, *g.Claims)
	}
	if b.issuer != "" {
		claims["iss"] = b.issuer
		if _, isSaid := claims["aud"]; !isSaid {
			claims["aud"] = b.audience
		}
	}
	if err := b.check(claims); err != nil {
		return broker.Caller{}, err
	}
	c, err := broker.NewCaller(b.method, claims)
	if err != nil || g.Subject == "" || g.Subject == c.Subject {
		return c, err
	}
	if c.Subject != "" {
		return broker.Caller{}, fmt.Errorf("the case gives the subject %q, and its claims make %q; leave subject out", g.Subject, c.Subject)
	}
	c.Subject = g.Subject
	return c, nil
}

// check refuses claims that no proof of the method has.
func (b believer) check(claims map[string]any) error {
	switch b.method {
	case oidc.Method:
		return oidc.Settings{Audience: b.audience}.CheckClaims(claims)
	case aws.Method:
		return aws.CheckClaims(claims)
	case identity.MTLSMethod:
		return identity.CheckMTLSClaims(b.trustDomain, claims)
	}
	return nil
}

// An Outcome is what came of a case.
type Outcome struct {
	Case      string `json:"case"`
	Passed    bool   `json:"passed"`
	Wanted    string `json:"wanted"`
	Got       string `json:"got"`
	Workspace string `json:"workspace,omitempty"`
	Profile   string `json:"profile,omitempty"`
	Rule      string `json:"rule,omitempty"`
	Refused   string `json:"refused,omitempty"` // the reason
	Detail    string `json:"detail,omitempty"`  // of a refusal, as callers are told
}

// Try says what comes of a case.
func (t *Tester) Try(ctx context.Context, c Case) Outcome {
	*t.current = c.Given
	o := Outcome{Case: c.Name, Wanted: "refused: " + c.Refused}
	w, err := t.resolve(ctx, c.Asks)
	if err != nil {
		o.Refused, o.Detail = broker.ReasonInternal, err.Error()
		if r, ok := errors.AsType[*broker.Refusal](err); ok {
			o.Refused, o.Detail = r.Reason, r.Detail
		}
		o.Got = fmt.Sprintf("refused: %s (%s)", o.Refused, o.Detail)
	}
	if w.Policy != nil {
		o.Workspace, o.Profile, o.Rule = w.ID, w.Profile.Name, w.Rule
	}
	got := Want{o.Workspace, o.Profile, o.Rule}
	if err == nil {
		o.Got = got.String()
	}
	if c.Want == nil {
		o.Passed = o.Refused == c.Refused
		return o
	}
	o.Wanted = c.Want.String()
	o.Passed = err == nil && c.Want.covers(got)
	return o
}

// resolve is who the caller is, and whether that one may have what it asks for.
// The workspace is known where it is the second that is refused.
func (t *Tester) resolve(ctx context.Context, asks *Asks) (broker.Workspace, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "/", nil)
	if err != nil {
		return broker.Workspace{}, err
	}
	w, err := t.policy.Resolve(ctx, r)
	if err != nil || asks == nil {
		return w, err
	}
	repo, _ := gitname.Repository(asks.Repo) // was checked
	host := asks.Host
	if host == "" {
		host = t.policy.Hosts[0]
	}
	_, err = broker.Authorize(w, api.TokenRequest{Host: host, Repo: repo, Operation: asks.Operation, Permissions: asks.Permissions})
	return w, err
}

func (w Want) covers(got Want) bool {
	same := func(wanted, is string) bool { return wanted == "" || wanted == is }
	return same(w.Workspace, got.Workspace) && same(w.Profile, got.Profile) && same(w.Rule, got.Rule)
}

// String is "workspace ci-1, profile ci, rule callers[0]".
func (w Want) String() string {
	var parts []string
	for _, p := range []struct{ name, value string }{{"workspace", w.Workspace}, {"profile", w.Profile}, {"rule", w.Rule}} {
		if p.value != "" {
			parts = append(parts, p.name+" "+p.value)
		}
	}
	return strings.Join(parts, ", ")
}
