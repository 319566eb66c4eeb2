package migrate

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/internal/usererr"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"
)

// tries is how often a Secret is reread after another writer changed it.
const tries = 10

// takeOver makes the new object the controller of the Secret. Owner, labels and annotation
// change in one write: a delivery tool would delete a Secret that has its tracking
// label but no owner.
func (m *Move) takeOver(ctx context.Context, o *object) {
	namespace, name := target(o.old)
	what := "Secret " + namespace + "/" + name
	for range tries {
		live, err := m.resource(secrets, namespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			m.print("%s: %s does not exist; gatepass-operator creates it", o, what)
			return
		}
		if err != nil {
			o.problem = usererr.Wrap("read "+what, err, "")
			return
		}
		switch controller := metav1.GetControllerOf(live); {
		case controller != nil && controller.UID == o.new.GetUID():
			m.print("%s: %s is taken over already", o, what)
			return
		case controller == nil || controller.UID != o.old.GetUID():
			o.problem = usererr.New("take over "+what, "it does not belong to the old object", "delete it, or write another secret.name")
			return
		}
		err = m.patch(ctx, secrets, live, map[string]any{
			"ownerReferences": replaceOwner(live, o.old.GetUID(), reference(o.kind, newVersion, o.new)),
			"annotations":     map[string]any{v1.AnnotationAdopt: key(o.new)},
			"labels":          takenLabels(o),
		})
		if apierrors.IsConflict(err) {
			continue
		}
		if err != nil {
			o.problem = usererr.Wrap("take over "+what, err, "")
			return
		}
		m.print("%s: %s is taken over", o, what)
		return
	}
	o.problem = usererr.New("take over "+what, "other writers keep changing it", "stop the other writer, and run this again")
}

// takenLabels are the labels by which the operator sees the Secret. A name that is too
// long for a label is left to the operator.
func takenLabels(o *object) map[string]any {
	labels := map[string]any{v1.LabelOwnerKind: o.kind.name}
	if name := o.new.GetName(); len(name) <= 63 {
		labels[v1.LabelOwnerName] = name
	}
	return labels
}

// reference returns the owner reference of a Secret to its controller.
func reference(k kind, version string, u *unstructured.Unstructured) map[string]any {
	return map[string]any{"apiVersion": version, "kind": k.name, "name": u.GetName(), "uid": string(u.GetUID()), "controller": true}
}

// replaceOwner returns the owners of a Secret with one owner replaced by another.
func replaceOwner(secret *unstructured.Unstructured, gone types.UID, controller map[string]any) []any {
	owners := []any{controller}
	list, _, _ := unstructured.NestedSlice(secret.Object, "metadata", "ownerReferences")
	for _, one := range list {
		if owner, is := one.(map[string]any); is && owner["uid"] != string(gone) {
			owners = append(owners, owner)
		}
	}
	return owners
}

// ownedMarks sets our labels or annotations to null; a merge patch removes them then.
func ownedMarks(marks map[string]string) map[string]any {
	out := map[string]any{}
	for name := range marks {
		if strings.HasPrefix(name, v1.Group+"/") {
			out[name] = nil
		}
	}
	return out
}

// accessFields are the fields of spec that define what a token may do.
var accessFields = []string{"installationID", "owner", "permissions", "allPermissions", "repositories", "repositoryIDs", "allRepositories", "appRef"}

// mayRestore returns an error unless the old object in the annotation asks for the same
// as the new object, and the operator permits it. A user who may write a Token may also
// write its annotation, and must not get an object of github-token-manager that way:
// github-token-manager permits everything.
func mayRestore(o *object) error {
	const what, do = "create the old object again", "apply its manifest by hand, and run this again"
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
			return usererr.New(what, "spec."+name+" of the new object has changed since then", do)
		}
	}
	if status, _, _ := condition(o.new, permission); status != "True" {
		return usererr.New(what, "the operator does not report that the new object is permitted", do)
	}
	return nil
}

// written returns a field of spec in JSON. Absent, false and null are the same.
func written(u *unstructured.Unstructured, name string) string {
	value, _, _ := unstructured.NestedFieldNoCopy(u.Object, "spec", name)
	text, err := json.Marshal(value)
	if err != nil || slices.Contains([]string{"false", "null", "0", `""`}, string(text)) {
		return ""
	}
	return string(text)
}
