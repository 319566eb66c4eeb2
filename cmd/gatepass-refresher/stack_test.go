package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/deploy"
	"go.yaml.in/yaml/v3"
)

// A stack is the CloudFormation template as AWS would read it for some
// parameters: the functions that it uses are carried out.
type stack struct {
	t          *testing.T
	root       *yaml.Node
	parameters map[string]string
	resources  map[string]any
	outputs    map[string]any
}

// pseudo are what AWS knows by itself.
var pseudo = map[string]string{
	"AWS::Partition": "aws", "AWS::Region": "us-east-1", "AWS::AccountId": "123456789012",
	"AWS::StackName": "gatepass-refresher", "AWS::URLSuffix": "amazonaws.com",
}

// arns are what resources are called once they are made.
var arns = map[string]string{
	"StoreKey.Arn": "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
	"LogGroup.Arn": "arn:aws:logs:us-east-1:123456789012:log-group:/aws/lambda/gatepass-refresher:*",
	"Role.Arn":     "arn:aws:iam::123456789012:role/refresher",
	"Function.Arn": "arn:aws:lambda:us-east-1:123456789012:function:gatepass-refresher",
	"Rule.Arn":     "arn:aws:events:us-east-1:123456789012:rule/refresher",
}

// absent is AWS::NoValue: whatever has it is left out.
type absent struct{}

// newStack reads the template with parameters given as KEY=VALUE.
func newStack(t *testing.T, given ...string) *stack {
	t.Helper()
	text, err := deploy.Files.ReadFile("aws/refresher.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	s := &stack{t: t, root: document.Content[0], parameters: map[string]string{"CodeBucket": "code"}}
	for _, pair := range given {
		key, value, _ := strings.Cut(pair, "=")
		s.parameters[key] = value
	}
	s.checkParameters()
	s.resources = s.section("Resources")
	s.outputs = s.section("Outputs")
	return s
}

func (s *stack) section(name string) map[string]any {
	s.t.Helper()
	value, ok := s.value(s.child(s.root, name)).(map[string]any)
	if !ok {
		s.t.Fatalf("the template has no %s", name)
	}
	return value
}

func (s *stack) child(node *yaml.Node, key string) *yaml.Node {
	s.t.Helper()
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == key {
			return node.Content[i+1]
		}
	}
	s.t.Fatalf("line %d: there is no %s", node.Line, key)
	return nil
}

// checkParameters holds defaults and what is given against the patterns.
func (s *stack) checkParameters() {
	s.t.Helper()
	all := s.section("Parameters")
	for name := range s.parameters {
		if all[name] == nil {
			s.t.Fatalf("there is no parameter %s", name)
		}
	}
	for name, value := range all {
		p := value.(map[string]any)
		if _, given := s.parameters[name]; !given {
			text, ok := p["Default"].(string)
			if !ok {
				s.t.Fatalf("the parameter %s has no default", name)
			}
			s.parameters[name] = text
		}
		if pattern, ok := p["AllowedPattern"].(string); ok && !regexp.MustCompile(pattern).MatchString(s.parameters[name]) {
			s.t.Errorf("parameter %s = %q does not match %s", name, s.parameters[name], pattern)
		}
	}
}

// value carries out a node. Scalars are texts.
func (s *stack) value(node *yaml.Node) any {
	s.t.Helper()
	switch {
	case strings.HasPrefix(node.Tag, "!!") || node.Tag == "":
		return s.plain(node)
	case node.Tag == "!Ref":
		return s.ref(node.Value)
	case node.Tag == "!GetAtt" && arns[node.Value] != "":
		return arns[node.Value]
	case node.Tag == "!Sub":
		return s.sub(node)
	case node.Tag == "!If":
		if s.condition(s.child(s.child(s.root, "Conditions"), node.Content[0].Value)) {
			return s.value(node.Content[1])
		}
		return s.value(node.Content[2])
	}
	s.t.Fatalf("line %d: nobody knows %s %s", node.Line, node.Tag, node.Value)
	return nil
}

func (s *stack) plain(node *yaml.Node) any {
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

func (s *stack) ref(name string) any {
	s.t.Helper()
	if name == "AWS::NoValue" {
		return absent{}
	}
	if value, ok := s.parameters[name]; ok {
		return value
	}
	if value, ok := pseudo[name]; ok {
		return value
	}
	s.child(s.child(s.root, "Resources"), name) // has to be there
	return name
}

var placeholder = regexp.MustCompile(`\$\{([A-Za-z0-9:.]+)\}`)

// sub fills a text, given alone or with a mapping of its own names.
func (s *stack) sub(node *yaml.Node) any {
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
			if arns[name] == "" {
				s.t.Fatalf("line %d: nobody knows %s", node.Line, place)
			}
			return arns[name]
		}
		return s.ref(name).(string)
	})
}

func (s *stack) condition(node *yaml.Node) bool {
	s.t.Helper()
	switch node.Tag {
	case "!Not":
		return !s.condition(node.Content[0])
	case "!Equals":
		return s.value(node.Content[0]) == s.value(node.Content[1])
	}
	s.t.Fatalf("line %d: nobody knows the condition %s", node.Line, node.Tag)
	return false
}

// properties are those of a resource.
func (s *stack) properties(resource string) map[string]any {
	s.t.Helper()
	r, ok := s.resources[resource].(map[string]any)
	if !ok {
		s.t.Fatalf("there is no resource %s", resource)
	}
	properties, _ := r["Properties"].(map[string]any)
	return properties
}

// environment is what the function finds.
func (s *stack) environment() map[string]string {
	s.t.Helper()
	all := map[string]string{}
	for key, value := range s.properties("Function")["Environment"].(map[string]any)["Variables"].(map[string]any) {
		all[key] = value.(string)
	}
	return all
}

// A statement is one that allows.
type statement struct {
	sid                string
	actions, resources []string
	condition          string // as text
}

// policy is what the function's role is allowed.
func (s *stack) policy() []statement {
	s.t.Helper()
	var all []statement
	for _, p := range s.properties("Role")["Policies"].([]any) {
		for _, value := range p.(map[string]any)["PolicyDocument"].(map[string]any)["Statement"].([]any) {
			v := value.(map[string]any)
			if v["Effect"] != "Allow" || v["NotAction"] != nil || v["NotResource"] != nil {
				s.t.Errorf("the statement %v does more than to allow", v["Sid"])
			}
			all = append(all, statement{v["Sid"].(string), texts(v["Action"]), texts(v["Resource"]), fmt.Sprint(v["Condition"])})
		}
	}
	return all
}

// texts reads a text, or a list of them.
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

// allows reports whether a statement allows an action on a resource. A star in a
// pattern stands for anything.
func (st statement) allows(action, resource string) bool {
	isOne := false
	for _, a := range st.actions {
		isOne = isOne || a == action
	}
	for _, pattern := range st.resources {
		quoted := strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, `.*`)
		if isOne && regexp.MustCompile(`\A(?:`+quoted+`)\z`).MatchString(resource) {
			return true
		}
	}
	return false
}
