package config

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/identity"
	"github.com/gatepass/gatepass/broker/identity/aws"
	"github.com/gatepass/gatepass/broker/identity/oidc"
	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/internal/yamlfile"
)

// A Case is a caller, its question, and the expected result. Exactly one of Want and
// Refused is set.
type Case struct {
	Name    string `yaml:"name"` // "" means its position in the list
	Given   Given  `yaml:"given"`
	Asks    *Asks  `yaml:"asks"` // nil only asks which workspace the caller is
	Want    *Want  `yaml:"want"`
	Refused string `yaml:"refused"` // a Reason of package broker
}

// Given is the identity that the test takes as proved.
type Given struct {
	Method   string  `yaml:"method"`
	Subject  string  `yaml:"subject"`
	Issuer   string  `yaml:"issuer"`   // required for method oidc
	Audience string  `yaml:"audience"` // for method oidc; "" means the rule's
	Claims   *Claims `yaml:"claims"`
}

// Asks is a request for a token.
type Asks struct {
	Host        string            `yaml:"host"` // "" means the broker's first host
	Repo        string            `yaml:"repo"`
	Operation   string            `yaml:"operation"` // read or write
	Permissions map[string]string `yaml:"permissions"`
}

// Want is what a caller should get. An empty field is not compared.
type Want struct {
	Workspace string `yaml:"workspace"`
	Profile   string `yaml:"profile"`
	Rule      string `yaml:"rule"`
}

// Claims are the claims of a proof.
type Claims map[string]any

// UnmarshalYAML keeps numbers as they are written, as json.Number.
func (c *Claims) UnmarshalYAML(node *yaml.Node) error {
	v, err := claimOf(node)
	if err != nil {
		return err
	}
	object, ok := v.(map[string]any)
	if !ok {
		return yamlfile.At(node, "claims must be a mapping of names to values")
	}
	*c = object
	return nil
}

func claimOf(node *yaml.Node) (any, error) {
	switch node.Kind {
	case yaml.MappingNode:
		object := map[string]any{}
		for i := 0; i+1 < len(node.Content); i += 2 {
			name := node.Content[i]
			if _, isThere := object[name.Value]; isThere || name.Kind != yaml.ScalarNode {
				return nil, yamlfile.At(name, "a claim's name must be a string and be given once")
			}
			v, err := claimOf(node.Content[i+1])
			if err != nil {
				return nil, err
			}
			object[name.Value] = v
		}
		return object, nil
	case yaml.SequenceNode:
		list := make([]any, len(node.Content))
		for i, element := range node.Content {
			var err error
			if list[i], err = claimOf(element); err != nil {
				return nil, err
			}
		}
		return list, nil
	case yaml.ScalarNode:
		return scalarOf(node)
	}
	return nil, yamlfile.At(node, "a claim must not have an alias; write its value")
}

func scalarOf(node *yaml.Node) (any, error) {
	switch node.ShortTag() {
	case "!!null":
		return nil, nil
	case "!!bool":
		return strconv.ParseBool(strings.ToLower(node.Value))
	case "!!int", "!!float":
		if !json.Valid([]byte(node.Value)) {
			return nil, yamlfile.At(node, "%s is not a JSON number; quote a string", node.Value)
		}
		return json.Number(node.Value), nil
	}
	return node.Value, nil
}

// ParseCases reads a list of cases. An unknown or repeated key is an error.
func ParseCases(data []byte) ([]Case, error) {
	var root yaml.Node
	if yaml.Unmarshal(data, &root) == nil && len(root.Content) == 1 && root.Content[0].Kind != yaml.SequenceNode {
		return nil, yamlfile.At(root.Content[0], "want a list of cases")
	}
	var cases []Case
	if err := yamlfile.Decode(data, &cases); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(cases) == 0 {
		return nil, errors.New("it has no cases: write a list of given, asks, and want or refused")
	}
	for i := range cases {
		if cases[i].Name == "" {
			cases[i].Name = fmt.Sprintf("cases[%d]", i)
		}
		if err := cases[i].check(); err != nil {
			return nil, fmt.Errorf("%s: %w", cases[i].Name, err)
		}
	}
	return cases, nil
}

// reasons are the refusals that a policy can cause by itself.
var reasons = []string{broker.ReasonHost, broker.ReasonIdentity, broker.ReasonRule, broker.ReasonRepository, broker.ReasonPermission, broker.ReasonRequest}

func (c Case) check() error {
	switch {
	case (c.Want == nil) == (c.Refused == ""):
		return errors.New("a case needs either want or refused")
	case c.Refused != "" && !slices.Contains(reasons, c.Refused):
		return fmt.Errorf("refused: %q must be one of %s", c.Refused, strings.Join(reasons, ", "))
	case c.Want != nil && *c.Want == Want{}:
		return errors.New("want: write at least one of workspace, profile and rule")
	case c.Given.Method == "":
		return errors.New("given: method is missing")
	case (c.Given.Method == "oidc") != (c.Given.Issuer != ""):
		return errors.New("given: issuer is required for the method oidc, and not allowed for others")
	case c.Asks != nil:
		return c.Asks.check()
	}
	return nil
}

func (a Asks) check() error {
	if _, ok := gitname.Repository(a.Repo); !ok {
		return fmt.Errorf("asks: repo %q: want OWNER/NAME", a.Repo)
	}
	if a.Operation != api.Read && a.Operation != api.Write {
		return fmt.Errorf("asks: operation %q: want %s or %s", a.Operation, api.Read, api.Write)
	}
	return nil
}

// A Tester tries cases on the policy of a file. It uses the broker's own rules,
// profiles and decisions. It only takes the identity in a case as proved.
type Tester struct {
	policy  *broker.Policy
	current *Given
}

// NewTester returns a Tester of a file that [Load] checked.
func NewTester(f *File) (*Tester, error) {
	t := &Tester{current: new(Given)}
	var err error
	t.policy, err = f.PolicyBy(func(c Caller) (broker.Identifier, error) {
		b := assumedIdentity{current: t.current, method: c.Method()}
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

// An assumedIdentity takes the identity in a case as proved if its method, issuer and audience
// are those of the rule. It makes the caller with the same code as the real identifier.
type assumedIdentity struct {
	current                               *Given
	method, issuer, audience, trustDomain string
}

// Identify implements [broker.Identifier].
func (b assumedIdentity) Identify(context.Context, *http.Request) (broker.Caller, error) {
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
		return broker.Caller{}, fmt.Errorf("the case has the subject %q, but its claims give %q; remove subject", g.Subject, c.Subject)
	}
	c.Subject = g.Subject
	return c, nil
}

// check returns an error for claims that no proof of the method can have.
func (b assumedIdentity) check(claims map[string]any) error {
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

// An Outcome is the result of a case.
type Outcome struct {
	Case      string `json:"case"`
	Passed    bool   `json:"passed"`
	Wanted    string `json:"wanted"`
	Got       string `json:"got"`
	Workspace string `json:"workspace,omitempty"`
	Profile   string `json:"profile,omitempty"`
	Rule      string `json:"rule,omitempty"`
	Refused   string `json:"refused,omitempty"` // the reason
	Detail    string `json:"detail,omitempty"`  // the refusal's text, as callers see it
}

// Try returns the outcome of a case.
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

// resolve returns the caller's workspace, and an error if the caller is refused or may
// not have what it asks for. In the second case the workspace is still set.
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

// String returns a text such as "workspace ci-1, profile ci, rule callers[0]".
func (w Want) String() string {
	var parts []string
	for _, p := range []struct{ name, value string }{{"workspace", w.Workspace}, {"profile", w.Profile}, {"rule", w.Rule}} {
		if p.value != "" {
			parts = append(parts, p.name+" "+p.value)
		}
	}
	return strings.Join(parts, ", ")
}
