// Package stacktest evaluates the CloudFormation templates of deploy/aws for given
// parameters as AWS would, for tests that compare them with the programs.
package stacktest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/deploy"
	"go.yaml.in/yaml/v3"
)

// A Stack is a template with parameters. The template functions that it uses are
// evaluated.
type Stack struct {
	Parameters map[string]string
	Resources  map[string]any
	Outputs    map[string]any

	t    *testing.T
	root *yaml.Node
}

// pseudo are AWS's pseudo parameters.
var pseudo = map[string]string{
	"AWS::Partition": "aws", "AWS::Region": "us-east-1", "AWS::AccountId": "123456789012",
	"AWS::StackName": "gatepass-refresher", "AWS::URLSuffix": "amazonaws.com",
}

// ARNs are the ARNs of resources once they are created.
var ARNs = map[string]string{
	"StoreKey.Arn": "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
	"LogGroup.Arn": "arn:aws:logs:us-east-1:123456789012:log-group:/aws/lambda/gatepass-refresher:*",
	"Role.Arn":     "arn:aws:iam::123456789012:role/refresher",
	"Function.Arn": "arn:aws:lambda:us-east-1:123456789012:function:gatepass-refresher",
	"Rule.Arn":     "arn:aws:events:us-east-1:123456789012:rule/refresher",

	"Table.Arn":      "arn:aws:dynamodb:us-east-1:123456789012:table/gatepass",
	"BrokerRole.Arn": "arn:aws:iam::123456789012:role/broker",
}

// absent is AWS::NoValue: a property with this value is omitted.
type absent struct{}

// New reads a template of deploy/aws, with parameters given as KEY=VALUE. It fails the
// test if the template or a parameter is wrong.
func New(t *testing.T, file string, given ...string) *Stack {
	t.Helper()
	text, err := deploy.Files.ReadFile("aws/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	s := &Stack{t: t, root: document.Content[0], Parameters: map[string]string{}}
	for _, pair := range given {
		key, value, _ := strings.Cut(pair, "=")
		s.Parameters[key] = value
	}
	s.checkParameters()
	s.Resources = s.section("Resources")
	s.Outputs = s.section("Outputs")
	return s
}

func (s *Stack) section(name string) map[string]any {
	s.t.Helper()
	value, ok := s.value(s.child(s.root, name)).(map[string]any)
	if !ok {
		s.t.Fatalf("the template has no %s", name)
	}
	return value
}

func (s *Stack) child(node *yaml.Node, key string) *yaml.Node {
	s.t.Helper()
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == key {
			return node.Content[i+1]
		}
	}
	s.t.Fatalf("line %d: there is no %s", node.Line, key)
	return nil
}

// checkParameters checks default and given values against the patterns.
func (s *Stack) checkParameters() {
	s.t.Helper()
	all := s.section("Parameters")
	for name := range s.Parameters {
		if all[name] == nil {
			s.t.Fatalf("there is no parameter %s", name)
		}
	}
	for name, value := range all {
		p := value.(map[string]any)
		if _, given := s.Parameters[name]; !given {
			text, ok := p["Default"].(string)
			if !ok {
				s.t.Fatalf("the parameter %s has no default", name)
			}
			s.Parameters[name] = text
		}
		if pattern, ok := p["AllowedPattern"].(string); ok && !regexp.MustCompile(pattern).MatchString(s.Parameters[name]) {
			s.t.Errorf("parameter %s = %q does not match %s", name, s.Parameters[name], pattern)
		}
	}
}

// value evaluates a node. Scalars are texts.
func (s *Stack) value(node *yaml.Node) any {
	s.t.Helper()
	switch {
	case strings.HasPrefix(node.Tag, "!!") || node.Tag == "":
		return s.plain(node)
	case node.Tag == "!Ref":
		return s.ref(node.Value)
	case node.Tag == "!GetAtt" && ARNs[node.Value] != "":
		return ARNs[node.Value]
	case node.Tag == "!Sub":
		return s.sub(node)
	case node.Tag == "!If":
		if s.condition(s.child(s.child(s.root, "Conditions"), node.Content[0].Value)) {
			return s.value(node.Content[1])
		}
		return s.value(node.Content[2])
	}
	s.t.Fatalf("line %d: unknown %s %s", node.Line, node.Tag, node.Value)
	return nil
}

func (s *Stack) plain(node *yaml.Node) any {
	s.t.Helper()
	switch node.Kind {
	case yaml.MappingNode:
		all := map[string]any{}
		for i := 0; i+1 < len(node.Content); i += 2 {
			if value := s.value(node.Content[i+1]); value != (absent{}) {
				all[node.Content[i].Value] = value
			}
		}
		return all
	case yaml.SequenceNode:
		all := []any{}
		for _, item := range node.Content {
			if value := s.value(item); value != (absent{}) {
				all = append(all, value)
			}
		}
		return all
	}
	return node.Value
}

func (s *Stack) ref(name string) any {
	s.t.Helper()
	if name == "AWS::NoValue" {
		return absent{}
	}
	if value, ok := s.Parameters[name]; ok {
		return value
	}
	if value, ok := pseudo[name]; ok {
		return value
	}
	s.child(s.child(s.root, "Resources"), name) // must exist
	return name
}

var placeholder = regexp.MustCompile(`\$\{([A-Za-z0-9:.]+)\}`)

// sub evaluates Sub: a text, alone or with a mapping of additional names.
func (s *Stack) sub(node *yaml.Node) any {
	s.t.Helper()
	text, own := node.Value, map[string]any{}
	if node.Kind == yaml.SequenceNode {
		text, own = node.Content[0].Value, s.value(node.Content[1]).(map[string]any)
	}
	return placeholder.ReplaceAllStringFunc(text, func(place string) string {
		name := place[2 : len(place)-1]
		if value, ok := own[name].(string); ok {
			return value
		}
		if strings.Contains(name, ".") {
			if ARNs[name] == "" {
				s.t.Fatalf("line %d: unknown %s", node.Line, place)
			}
			return ARNs[name]
		}
		return s.ref(name).(string)
	})
}

func (s *Stack) condition(node *yaml.Node) bool {
	s.t.Helper()
	switch node.Tag {
	case "!Not":
		return !s.condition(node.Content[0])
	case "!Equals":
		return s.value(node.Content[0]) == s.value(node.Content[1])
	}
	s.t.Fatalf("line %d: unknown condition %s", node.Line, node.Tag)
	return false
}

// Properties returns the properties of a resource.
func (s *Stack) Properties(resource string) map[string]any {
	s.t.Helper()
	r, ok := s.Resources[resource].(map[string]any)
	if !ok {
		s.t.Fatalf("there is no resource %s", resource)
	}
	properties, _ := r["Properties"].(map[string]any)
	return properties
}

// Environment returns the environment variables of the Lambda function.
func (s *Stack) Environment() map[string]string {
	s.t.Helper()
	all := map[string]string{}
	for key, value := range s.Properties("Function")["Environment"].(map[string]any)["Variables"].(map[string]any) {
		all[key] = value.(string)
	}
	return all
}

// A Statement is a policy statement that allows something.
type Statement struct {
	ID                 string
	Actions, Resources []string
	Condition          string   // as text
	LeadingKeys        []string // partition keys that a condition allows; nil for all
}

// Policy returns the statements of the policies inside a role, or of a managed policy.
func (s *Stack) Policy(resource string) []Statement {
	s.t.Helper()
	documents := []any{s.Properties(resource)["PolicyDocument"]}
	if inside, ok := s.Properties(resource)["Policies"].([]any); ok {
		documents = nil
		for _, p := range inside {
			documents = append(documents, p.(map[string]any)["PolicyDocument"])
		}
	}
	var all []Statement
	for _, document := range documents {
		for _, value := range document.(map[string]any)["Statement"].([]any) {
			v := value.(map[string]any)
			if v["Effect"] != "Allow" || v["NotAction"] != nil || v["NotResource"] != nil {
				s.t.Errorf("the statement %v does more than to allow", v["Sid"])
			}
			st := Statement{ID: v["Sid"].(string), Actions: texts(v["Action"]), Resources: texts(v["Resource"]), Condition: fmt.Sprint(v["Condition"])}
			condition, _ := v["Condition"].(map[string]any)
			if keys, ok := condition["ForAllValues:StringLike"].(map[string]any); ok {
				st.LeadingKeys = texts(keys["dynamodb:LeadingKeys"])
			}
			all = append(all, st)
		}
	}
	return all
}

// texts returns a text or a list of texts as a list.
func texts(value any) []string {
	if one, ok := value.(string); ok {
		return []string{one}
	}
	var all []string
	for _, item := range value.([]any) {
		all = append(all, item.(string))
	}
	return all
}

// Allows reports whether the statement allows an action on a resource, and on the given
// partition keys of a table. A star in a pattern matches anything.
func (st Statement) Allows(action, resource string, leadingKeys ...string) bool {
	if !slices.Contains(st.Actions, action) || !isLikeOneOf(st.Resources, resource) {
		return false
	}
	for _, key := range leadingKeys {
		if st.LeadingKeys != nil && !isLikeOneOf(st.LeadingKeys, key) {
			return false
		}
	}
	return true
}

func isLikeOneOf(patterns []string, text string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		quoted := strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, `.*`)
		return regexp.MustCompile(`\A(?:` + quoted + `)\z`).MatchString(text)
	})
}
