// Package refs decides what a push may do to the refs of a remote. It does no I/O: the
// guard, profiles, rulesets and the gateway share it.
//
// It parses a push line by line ([ParseUpdates]), classifies every line as one [Verb]
// and checks it against a [Policy] ([Guard]). It refuses what it cannot parse.
package refs

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/gatepass/gatepass/internal/suggest"
)

// A Verb is one thing a push can do to a remote ref.
type Verb string

// The verbs. A push of several refs may need several of them.
const (
	Create Verb = "create" // the ref does not exist yet
	Update Verb = "update" // fast-forward of an existing ref
	Force  Verb = "force"  // any other change of an existing ref, such as a forced push
	Delete Verb = "delete" // the ref is deleted
	Move   Verb = "move"   // an existing tag is changed
)

var verbs = []Verb{Create, Update, Force, Delete, Move}

// An Entry is one line of a refs list: a pattern of remote refs, and what may be done
// to them.
type Entry struct {
	// Ref is a pattern. Without a leading "refs/" it names branches. "*" stays within
	// one path segment, "**" crosses segments.
	Ref string
	// Allow lists what may be done; nil means Create and Update.
	Allow []Verb
}

// UnmarshalYAML reads a plain string, or a mapping {ref: …, allow: […]}. Unknown
// keys, unknown verbs and an empty list are errors with their line number.
func (e *Entry) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		return e.setRef(node)
	}
	if node.Kind != yaml.MappingNode {
		return at(node, "a ref is a pattern or {ref: PATTERN, allow: [VERB, …]}")
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if seen[key.Value] {
			return at(key, "%q is given twice", key.Value)
		}
		seen[key.Value] = true
		if err := e.set(key, value); err != nil {
			return err
		}
	}
	if !seen["ref"] {
		return at(node, "an entry without ref")
	}
	return nil
}

func (e *Entry) set(key, value *yaml.Node) error {
	switch key.Value {
	case "ref":
		return e.setRef(value)
	case "allow":
		return e.setAllow(value)
	default:
		return at(key, "%s", suggest.Unknown("key", key.Value, "", []string{"ref", "allow"}))
	}
}

func (e *Entry) setRef(node *yaml.Node) error {
	if node.Kind != yaml.ScalarNode || node.Value == "" || node.Tag == "!!null" {
		return at(node, "a ref pattern is a text that is not empty")
	}
	e.Ref = node.Value
	return nil
}

func (e *Entry) setAllow(node *yaml.Node) error {
	if node.Kind != yaml.SequenceNode || len(node.Content) == 0 {
		return at(node, "allow is a list of verbs that is not empty: %s", verbList())
	}
	for _, item := range node.Content {
		verb := Verb(item.Value)
		if item.Kind != yaml.ScalarNode || !slices.Contains(verbs, verb) {
			return at(item, "%s", suggest.Unknown("verb", item.Value, "", texts(verbs)))
		}
		if slices.Contains(e.Allow, verb) {
			return at(item, "verb %q is given twice", item.Value)
		}
		e.Allow = append(e.Allow, verb)
	}
	return nil
}

func verbList() string { return joinVerbs(verbs) }

func at(node *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("line %d column %d: "+format, append([]any{node.Line, node.Column}, args...)...)
}

// WorkspacePlaceholder is replaced by the workspace's id in the refs of a profile.
const WorkspacePlaceholder = "{workspace}"

// ForWorkspace returns entries with the workspace's id filled in. If the id is not
// valid in a ref name, [Compile] refuses the result.
func ForWorkspace(entries []Entry, workspace string) []Entry {
	filled := slices.Clone(entries)
	for i, e := range filled {
		filled[i].Ref = strings.ReplaceAll(e.Ref, WorkspacePlaceholder, workspace)
	}
	return filled
}
