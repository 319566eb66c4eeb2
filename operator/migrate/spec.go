package migrate

import (
	"fmt"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
)

// repositories says what an absent list meant.
func (r *rewriter) repositories(spec *yaml.Node) {
	names, ids := field(spec, "repositories"), field(spec, "repositoryIDs")
	switch {
	case isEmpty(names) && isEmpty(ids):
		say(spec, "allRepositories", "repositories", "repositoryIDs")
		r.note("it named no repositories, which meant every one of the installation: allRepositories: true says so")
		return
	case !isEmpty(names) && !isEmpty(ids):
		r.fail("repositories and repositoryIDs are both set", "keep one of them: the ids survive a rename, the names can be read")
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

// list takes out what is in a list twice, and refuses names that have an owner.
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
			r.note("%s is in the list twice: one is left", entry.Value)
			continue
		}
		seen[entry.Value] = true
		kept = append(kept, entry)
	}
	list.Content = kept
}

// permissions says what an absent map meant.
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
		say(spec, "allPermissions", "permissions")
		r.note("it named no permissions, which meant every one of the App: allPermissions: true says so, and no TenantPolicy allows it: write what the token is for")
	}
}

// interval raises an interval to the least that there is.
func (r *rewriter) interval(spec *yaml.Node, name, least string) {
	node := field(spec, name)
	if node == nil {
		return
	}
	is, err := time.ParseDuration(node.Value)
	if err != nil {
		r.fail(fmt.Sprintf("%s %q is no duration", name, node.Value), "write it as in 30m")
		return
	}
	if limit, _ := time.ParseDuration(least); is < limit {
		r.note("%s %s is now %s, the least", name, node.Value, least)
		node.Value, node.Tag, node.Style = least, "!!str", 0
	}
}

// secret keeps what spec.secret says from meaning something else.
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
		r.note("secret.%s: %s is the operator's own and is left out", name, key)
		remove(node, key)
	}
	dropEmpty(secret, name)
}

// say sets a field to true, in the place of the first of others that is there, with
// its comments. The others are removed.
func say(spec *yaml.Node, name string, others ...string) {
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
