package migrate

import (
	"slices"

	"go.yaml.in/yaml/v3"
)

// field returns the value of a field of a mapping, or nil if it is absent.
func field(node *yaml.Node, name string) *yaml.Node {
	if i := indexOf(node, name); i >= 0 {
		return node.Content[i+1]
	}
	return nil
}

// indexOf returns where a field's name is in a mapping, or -1.
func indexOf(node *yaml.Node, name string) int {
	if node == nil || node.Kind != yaml.MappingNode {
		return -1
	}
	for i := 0; i < len(node.Content); i += 2 {
		if node.Content[i].Value == name {
			return i
		}
	}
	return -1
}

// text returns the text of a field, or "" if it is absent.
func text(node *yaml.Node, name string) string {
	value := field(node, name)
	if value == nil || value.Kind != yaml.ScalarNode || value.Tag == "!!null" {
		return ""
	}
	return value.Value
}

// remove takes a field out of a mapping.
func remove(node *yaml.Node, name string) {
	if i := indexOf(node, name); i >= 0 {
		node.Content = slices.Delete(node.Content, i, i+2)
	}
}

// dropEmpty takes a field out that has nothing in it.
func dropEmpty(node *yaml.Node, name string) {
	if isEmpty(field(node, name)) {
		remove(node, name)
	}
}

// ensure returns the mapping of a field, which is made where it is missing or null.
func ensure(node *yaml.Node, name string) *yaml.Node {
	value := field(node, name)
	switch {
	case value == nil:
		value = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		node.Content = append(node.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: name}, value)
	case value.Kind == yaml.ScalarNode && value.Tag == "!!null":
		value.Kind, value.Tag, value.Value = yaml.MappingNode, "!!map", ""
	}
	if len(value.Content) == 0 {
		value.Style = 0 // {} would have what is added on the same line
	}
	return value
}

// isEmpty reports that a list or mapping is absent, null or has nothing in it.
func isEmpty(node *yaml.Node) bool {
	if node == nil {
		return true
	}
	return len(node.Content) == 0 && (node.Kind != yaml.ScalarNode || node.Tag == "!!null")
}

// describe returns an object's kind and name for people.
func describe(root *yaml.Node) string {
	metadata := field(root, "metadata")
	what := text(root, "kind")
	if what == "" {
		what = "a document"
	}
	name := text(metadata, "name")
	if namespace := text(metadata, "namespace"); namespace != "" {
		name = namespace + "/" + name
	}
	if name == "" {
		return what
	}
	return what + " " + name
}
