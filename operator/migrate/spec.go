package migrate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"go.yaml.in/yaml/v3"
)

// repositories writes out what an absent list meant.
func (r *rewriter) repositories(spec *yaml.Node) {
	names, ids := field(spec, "repositories"), field(spec, "repositoryIDs")
	switch {
	case isEmpty(names) && isEmpty(ids):
		setTrue(spec, "allRepositories", "repositories", "repositoryIDs")
		r.note("it named no repositories, which meant all of the installation; allRepositories: true says the same")
		return
	case !isEmpty(names) && !isEmpty(ids):
		r.fail("repositories and repositoryIDs are both set", "keep one of them: IDs survive a rename, names are readable")
		return
	case isEmpty(names):
		remove(spec, "repositories")
	default:
		remove(spec, "repositoryIDs")
	}
	for _, list := range []*yaml.Node{names, ids} {
		r.list(list)
	}
}

// list removes duplicates from a list, and refuses names that include an owner.
func (r *rewriter) list(list *yaml.Node) {
	if isEmpty(list) {
		return
	}
	seen := map[string]bool{}
	var kept []*yaml.Node
	for _, entry := range list.Content {
		owner, name, hasOwner := strings.Cut(entry.Value, "/")
		switch {
		case hasOwner:
			r.fail("repository "+entry.Value+" has an owner, and GitHub refuses it", "write "+name+", and an installationID of "+owner)
		case seen[entry.Value]:
			r.note("%s was in the list twice: one entry is kept", entry.Value)
			continue
		}
		seen[entry.Value] = true
		kept = append(kept, entry)
	}
	list.Content = kept
}

// permissions writes out what an absent map meant.
func (r *rewriter) permissions(spec *yaml.Node) {
	permissions := field(spec, "permissions")
	if permissions != nil && permissions.Kind == yaml.MappingNode {
		for i := 0; i < len(permissions.Content); {
			if permissions.Content[i+1].Tag == "!!null" {
				remove(permissions, permissions.Content[i].Value)
				continue
			}
			i += 2
		}
	}
	if isEmpty(permissions) {
		setTrue(spec, "allPermissions", "permissions")
		r.note("it named no permissions, which meant all of the App; allPermissions: true says the same, but no TenantPolicy allows it: list the permissions that the token needs")
	}
}

// interval raises an interval to the minimum.
func (r *rewriter) interval(spec *yaml.Node, name, least string) {
	node := field(spec, name)
	if node == nil {
		return
	}
	is, err := time.ParseDuration(node.Value)
	if err != nil {
		r.fail(fmt.Sprintf("%s %q is not a duration", name, node.Value), "write a time such as 30m")
		return
	}
	if limit, _ := time.ParseDuration(least); is < limit {
		r.note("%s %s is now %s, the minimum", name, node.Value, least)
		node.Value, node.Tag, node.Style = least, "!!str", 0
	}
}

// secret removes from spec.secret what would have another meaning in the new object.
func (r *rewriter) secret(secret *yaml.Node) {
	labels, annotations := field(secret, "labels"), field(secret, "annotations")
	r.without(secret, "labels", labels, v1.Group+"/", "app.kubernetes.io/")
	r.without(secret, "annotations", annotations, v1.Group+"/")
	if annotations = field(secret, "annotations"); annotations == nil {
		return
	}
	for i := 1; i < len(annotations.Content); i += 2 {
		if value := annotations.Content[i]; strings.Contains(value.Value, "{{") {
			value.Value = strings.ReplaceAll(value.Value, "{{", `{{ "{{" }}`)
			r.note("annotation %s has {{, which begins a template now: it is escaped", annotations.Content[i-1].Value)
		}
	}
}

// without removes the keys that are the operator's own.
func (r *rewriter) without(secret *yaml.Node, name string, node *yaml.Node, prefixes ...string) {
	if node == nil {
		return
	}
	for i := 0; i < len(node.Content); {
		key, isOurs := node.Content[i].Value, false
		for _, prefix := range prefixes {
			isOurs = isOurs || strings.HasPrefix(key, prefix)
		}
		if !isOurs {
			i += 2
			continue
		}
		r.note("secret.%s: %s is reserved for the operator and is left out", name, key)
		remove(node, key)
	}
	dropEmpty(secret, name)
}

// setTrue sets a field to true. It takes the place and the comments of the first of others
// that exists; the others are removed.
func setTrue(spec *yaml.Node, name string, others ...string) {
	value := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: "true"}
	isPlaced := false
	for _, other := range others {
		for i := 0; i < len(spec.Content); i += 2 {
			if spec.Content[i].Value != other || isPlaced {
				continue
			}
			old := spec.Content[i+1]
			value.HeadComment, value.LineComment, value.FootComment = old.HeadComment, old.LineComment, old.FootComment
			spec.Content[i].Value, spec.Content[i+1] = name, value
			isPlaced = true
		}
		remove(spec, other)
	}
	if !isPlaced {
		spec.Content = append(spec.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: name}, value)
	}
}

// field returns the value of a field of a mapping, or nil if it is absent.
func field(node *yaml.Node, name string) *yaml.Node {
	if i := indexOf(node, name); i >= 0 {
		return node.Content[i+1]
	}
	return nil
}

// indexOf returns the index of a field's name in a mapping, or -1.
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

// remove deletes a field from a mapping.
func remove(node *yaml.Node, name string) {
	if i := indexOf(node, name); i >= 0 {
		node.Content = slices.Delete(node.Content, i, i+2)
	}
}

// dropEmpty deletes a field that is empty.
func dropEmpty(node *yaml.Node, name string) {
	if isEmpty(field(node, name)) {
		remove(node, name)
	}
}

// ensure returns the mapping of a field, and creates it if it is missing or null.
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
		value.Style = 0 // with {}, additions would go on the same line
	}
	return value
}

// isEmpty reports whether a list or mapping is absent, null or empty.
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
