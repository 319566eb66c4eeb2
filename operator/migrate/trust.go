package migrate

import (
	"encoding/json"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/gatepass/gatepass/internal/usererr"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
)

// accessFields are those of spec that say what a token may do.
var accessFields = []string{"installationID", "owner", "permissions", "allPermissions", "repositories", "repositoryIDs", "allRepositories", "appRef"}

// mayRestore returns an error unless the old object of the annotation asks for what the
// new object asks for and the operator permits. Whoever may write a Token may write its
// annotation, and must not get an object of github-token-manager by it, which permits
// everything.
func mayRestore(o *object) error {
	const what, do = "make the old object again", "apply its manifest by hand, and run this again"
	text, err := yaml.Marshal(o.old.Object)
	if err != nil {
		return err
	}
	out, _, err := rewriteDocument(text, false)
	if err != nil {
		return usererr.Wrap(what, err, do)
	}
	var wanted unstructured.Unstructured
	if err := yaml.Unmarshal(out, &wanted.Object); err != nil {
		return err
	}
	names, permission := accessFields, v1.ConditionPermitted
	if o.kind == kindApp {
		names, permission = appFields, v1.ConditionReady
	}
	for _, name := range names {
		if a, b := written(&wanted, name), written(o.new, name); a != b && !(o.kind == kindClusterToken && name == "appRef") {
			return usererr.New(what, "spec."+name+" of the new object was changed since", do)
		}
	}
	if status, _, _ := condition(o.new, permission); status != "True" {
		return usererr.New(what, "the operator does not say that the new object is permitted", do)
	}
	return nil
}

// written returns a field of spec in JSON. What is absent, false or null is the same.
func written(u *unstructured.Unstructured, name string) string {
	value, _, _ := unstructured.NestedFieldNoCopy(u.Object, "spec", name)
	text, err := json.Marshal(value)
	if err != nil || slices.Contains([]string{"false", "null", "0", `""`}, string(text)) {
		return ""
	}
	return string(text)
}
