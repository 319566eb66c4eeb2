// Package yamlfile decodes configuration files strictly. Its errors give the place of
// each mistake and, for an unknown key, the one that was probably meant.
package yamlfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/gatepass/gatepass/internal/suggest"
)

// Decode decodes data, a single YAML document, into a struct. Unknown and repeated keys
// are errors. The error is one line: "line 2 column 1: …", with ", " between several.
// For an empty document it is io.EOF.
func Decode(data []byte, into any) error {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(into); err != nil {
		return explain(data, into, err)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return errors.New("it has more than one YAML document")
	}
	return nil
}

// Keys returns the top-level keys of a document; none if it is not a mapping.
func Keys(data []byte) (map[string]bool, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(data, &root); err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	keys := map[string]bool{}
	if len(root.Content) == 1 && root.Content[0].Kind == yaml.MappingNode {
		for i := 0; i < len(root.Content[0].Content); i += 2 {
			keys[root.Content[0].Content[i].Value] = true
		}
	}
	return keys, nil
}

// At returns an error about the value of a node.
func At(node *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("line %d column %d: %s", node.Line, node.Column, fmt.Sprintf(format, args...))
}

// UnknownKey returns an error that a key is unknown, with the one that was probably
// meant.
func UnknownKey(key *yaml.Node, known []string) error {
	return At(key, "%s", suggest.Unknown("key", key.Value, "", known))
}

// Place puts the place of a key before an error, if the document has the key. The path
// is in the usual form: "audit.file", "callers[2]".
func Place(data []byte, path string, err error) error {
	var root yaml.Node
	if yaml.Unmarshal(data, &root) != nil || len(root.Content) != 1 {
		return err
	}
	node := find(root.Content[0], path)
	if node == nil {
		return err
	}
	return fmt.Errorf("line %d column %d: %w", node.Line, node.Column, err)
}

// A keyError is about the value of a key.
type keyError struct {
	path string
	error
}

func (e *keyError) Unwrap() error { return e.error }

// Key records which key an error is about, so that Locate finds its place. The path is
// as in Place. It returns nil for nil.
func Key(path string, err error) error {
	if err == nil {
		return nil
	}
	return &keyError{path, err}
}

// Locate puts the place of the key before an error that Key made; it returns other
// errors unchanged.
func Locate(data []byte, err error) error {
	if e, ok := errors.AsType[*keyError](err); ok {
		return Place(data, e.path, err)
	}
	return err
}

// find returns the key at the path, or the element of a list; nil if the document has
// neither.
func find(node *yaml.Node, path string) *yaml.Node {
	at := node
	for _, part := range strings.Split(path, ".") {
		name, index, isElement := strings.Cut(strings.TrimSuffix(part, "]"), "[")
		key, value := member(node, name)
		if key == nil {
			return nil
		}
		at, node = key, value
		if !isElement {
			continue
		}
		i := 0
		if _, err := fmt.Sscanf(index, "%d", &i); err != nil || node.Kind != yaml.SequenceNode || i < 0 || i >= len(node.Content) {
			return nil
		}
		node = node.Content[i]
		at = node
	}
	return at
}

func member(node *yaml.Node, name string) (key, value *yaml.Node) {
	if node.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == name {
			return node.Content[i], node.Content[i+1]
		}
	}
	return nil, nil
}
