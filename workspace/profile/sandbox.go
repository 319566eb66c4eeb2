package profile

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The envelope of the first system's profiles. spec.sourceAccess has the same meaning
// in both versions.
const sandboxKind = "SandboxProfile"

const (
	sandboxV1 = "klankermaker.ai/v1alpha1"
	sandboxV2 = "klankermaker.ai/v1alpha2" // has no permissions; the first system's reader refuses them
)

// The modes of sourceAccess: the repositories that github lists, or none.
const (
	allowlistMode = "allowlist"
	noneMode      = "none"
)

// sandboxVerbs are the first system's names for two permissions.
var sandboxVerbs = map[string]string{"read": "clone", "write": "push"}

// maxNamed is the largest number of ignored keys that a warning names.
const maxNamed = 20

// sandboxVersion returns the version of a file that is a profile of the first system,
// or "". It checks only apiVersion, so that a wrong kind is an error.
func sandboxVersion(node *yaml.Node) string {
	for i := 0; node.Kind == yaml.MappingNode && i+1 < len(node.Content); i += 2 {
		version := resolve(node.Content[i+1]).Value
		if node.Content[i].Value == "apiVersion" && (version == sandboxV1 || version == sandboxV2) {
			return version
		}
	}
	return ""
}

// mayIgnore reports whether a key of a sandbox profile is not about GitHub. It does not
// ignore a key that could be meant for a known one: the same key in another case, and
// YAML's merge key.
func (r *reader) mayIgnore(key *yaml.Node, known map[string]func(*yaml.Node)) bool {
	if key.Kind != yaml.ScalarNode || key.Value == "<<" || key.Value == "" {
		return false
	}
	for name := range known {
		if strings.EqualFold(name, key.Value) {
			return false
		}
	}
	return true
}

// mode parses sourceAccess.mode.
func (r *reader) mode(node *yaml.Node) {
	text, ok := r.text(node, "a mode")
	if ok && text != allowlistMode && text != noneMode {
		r.problems.at(node, "unknown mode %q of sourceAccess; known are %s and %s", text, allowlistMode, noneMode)
	}
	r.sourceMode = text
}

// inherited refuses a profile that takes its tokens' access from the profile it
// extends: the other file is not read, and may allow less.
func (r *reader) inherited(extends *yaml.Node) {
	if extends == nil || isNull(extends) || r.sourceMode == noneMode {
		return
	}
	var missing []string
	if r.sourceMode == "" {
		missing = append(missing, "mode")
	}
	for _, key := range []string{"allowedRepos", "allowedRefs", "permissions"} {
		if !r.isGiven[key] && !(key == "permissions" && r.isSecond) {
			missing = append(missing, "github."+key)
		}
	}
	if len(missing) > 0 {
		r.problems.at(extends, "gatepass does not read the profile that it extends; write the inherited keys in sourceAccess of this file: %s", strings.Join(missing, ", "))
	}
}

// narrow applies the mode, and adds warnings about what was not read.
func (r *reader) narrow() {
	if r.sourceMode == noneMode {
		if r.profile.HasAccess() {
			r.profile.Warnings = append(r.profile.Warnings, "the mode of sourceAccess is none, so allowedRepos has no effect")
		}
		r.profile.Repositories, r.profile.Refs = nil, nil
	}
	if named := r.ignored[:min(len(r.ignored), maxNamed)]; len(named) > 0 {
		text := "ignored, because gatepass reads only spec.sourceAccess: " + strings.Join(named, ", ")
		if more := len(r.ignored) - len(named); more > 0 {
			text += fmt.Sprintf(" and %d more", more)
		}
		r.profile.Warnings = append(r.profile.Warnings, text)
	}
}
