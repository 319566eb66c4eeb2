package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/internal/yamlfile"
)

// A Case is a caller, what it asks for, and what should come of it. Exactly one
// of Want and Refused is set.
type Case struct {
	Name    string `yaml:"name"` // "" means its place
	Given   Given  `yaml:"given"`
	Asks    *Asks  `yaml:"asks"` // nil asks who the caller is, and no more
	Want    *Want  `yaml:"want"`
	Refused string `yaml:"refused"` // a reason of package broker
}

// Given is what is taken as proved.
type Given struct {
	Method   string  `yaml:"method"`
	Subject  string  `yaml:"subject"`
	Issuer   string  `yaml:"issuer"`   // of the method oidc, which has to have one
	Audience string  `yaml:"audience"` // of the method oidc; "" means the rule's
	Claims   *Claims `yaml:"claims"`
}

// Asks is a question for a token.
type Asks struct {
	Host        string            `yaml:"host"` // "" means the broker's first
	Repo        string            `yaml:"repo"`
	Operation   string            `yaml:"operation"` // read or write
	Permissions map[string]string `yaml:"permissions"`
}

// Want is what a caller is given; empty fields are not looked at.
type Want struct {
	Workspace string `yaml:"workspace"`
	Profile   string `yaml:"profile"`
	Rule      string `yaml:"rule"`
}

// Claims are claims as a proof has them.
type Claims map[string]any

// UnmarshalYAML keeps numbers as they are written, as JSON's.
func (c *Claims) UnmarshalYAML(node *yaml.Node) error {
	v, err := claimOf(node)
	if err != nil {
		return err
	}
	object, ok := v.(map[string]any)
	if !ok {
		return yamlfile.At(node, "claims are names with values")
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
				return nil, yamlfile.At(name, "a claim's name is a text, and there once")
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
	return nil, yamlfile.At(node, "a claim is written out, without an alias")
}

func scalarOf(node *yaml.Node) (any, error) {
	switch node.ShortTag() {
	case "!!null":
		return nil, nil
	case "!!bool":
		return strconv.ParseBool(strings.ToLower(node.Value))
	case "!!int", "!!float":
		if !json.Valid([]byte(node.Value)) {
			return nil, yamlfile.At(node, "%s is no number of JSON; put a text into quotes", node.Value)
		}
		return json.Number(node.Value), nil
	}
	return node.Value, nil
}

// ParseCases reads a list of cases. Unknown and repeated keys are errors.
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

// reasons are those that can come of a policy alone.
var reasons = []string{broker.ReasonHost, broker.ReasonIdentity, broker.ReasonRule, broker.ReasonRepository, broker.ReasonPermission, broker.ReasonRequest}

func (c Case) check() error {
	switch {
	case (c.Want == nil) == (c.Refused == ""):
		return errors.New("want one of want and refused")
	case c.Refused != "" && !slices.Contains(reasons, c.Refused):
		return fmt.Errorf("refused: %q is none of %s", c.Refused, strings.Join(reasons, ", "))
	case c.Want != nil && *c.Want == Want{}:
		return errors.New("want: say one of workspace, profile and rule")
	case c.Given.Method == "":
		return errors.New("given: method is missing")
	case (c.Given.Method == "oidc") != (c.Given.Issuer != ""):
		return errors.New("given: the method oidc has an issuer, and no other has")
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
