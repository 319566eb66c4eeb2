package migrate

import (
	"context"
	"encoding/json"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/gatepass/gatepass/internal/usererr"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
)

// read returns all old objects, Apps first, each with the object to create and the one
// that exists already. An object that cannot be rewritten has a problem.
func (m *Move) read(ctx context.Context, deployment *unstructured.Unstructured) ([]*object, error) {
	var objects []*object
	for _, k := range kinds {
		olds, _, err := m.list(ctx, k.old(), "")
		if err != nil {
			return nil, err
		}
		news, isServed, err := m.list(ctx, k.new(), "")
		switch {
		case err != nil:
			return nil, err
		case !isServed:
			return nil, usererr.New("find the kinds of "+newVersion, "the API server does not serve them", "apply deploy/crds of gatepass first")
		}
		there := byName(news)
		for i := range olds {
			o := &object{kind: k, old: &olds[i], new: there[key(&olds[i])]}
			o.wanted, o.problem = m.rewrite(o)
			objects = append(objects, o)
		}
	}
	if len(objects) == 0 {
		return nil, usererr.New("read the objects of github-token-manager", "the cluster has no such objects", "check that the kubeconfig is for the right cluster")
	}
	nameApps(objects, deployment)
	return objects, nil
}

func key(u *unstructured.Unstructured) string { return u.GetNamespace() + "/" + u.GetName() }

func byName(items []unstructured.Unstructured) map[string]*unstructured.Unstructured {
	found := map[string]*unstructured.Unstructured{}
	for i := range items {
		found[key(&items[i])] = &items[i]
	}
	return found
}

// rewrite returns the new object for an old one, with implicit settings written out.
func (m *Move) rewrite(o *object) (*unstructured.Unstructured, error) {
	text, err := yaml.Marshal(ofUser(o.old))
	if err != nil {
		return nil, err
	}
	out, notes, err := rewriteDocument(text, false)
	if err != nil {
		return nil, err
	}
	if o.new == nil {
		for _, note := range notes {
			m.print("%s", note)
		}
	}
	wanted := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(out, &wanted.Object); err != nil {
		return nil, err
	}
	from, err := json.Marshal(ofUser(o.old))
	if err != nil {
		return nil, err
	}
	wanted.SetLabels(without(wanted.GetLabels()))
	annotations := without(wanted.GetAnnotations())
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[AnnotationFrom] = string(from)
	wanted.SetAnnotations(annotations)
	return wanted, nil
}

// ofUser returns the part of an object that a person wrote.
func ofUser(u *unstructured.Unstructured) map[string]any {
	metadata := map[string]any{"name": u.GetName()}
	for _, name := range []string{"namespace", "labels", "annotations"} {
		if value, is, _ := unstructured.NestedFieldCopy(u.Object, "metadata", name); is {
			metadata[name] = value
		}
	}
	unstructured.RemoveNestedField(metadata, "annotations", ofKubectl)
	out := map[string]any{"apiVersion": u.GetAPIVersion(), "kind": u.GetKind(), "metadata": metadata}
	if spec, is := u.Object["spec"]; is {
		out["spec"] = spec
	}
	return out
}

// trackingLabels are the labels and annotations by which delivery tools recognize their
// objects. On an object that is in none of their manifests, they would make the tool
// delete it. Our own labels are left out too: the old object did not ask for what they
// mean.
var trackingLabels = []string{v1.Group + "/", "app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "argocd.argoproj.io/", "kustomize.toolkit.fluxcd.io/", "helm.toolkit.fluxcd.io/", "meta.helm.sh/"}

func without(marks map[string]string) map[string]string {
	for name := range marks {
		for _, tracker := range trackingLabels {
			if strings.HasPrefix(name, tracker) {
				delete(marks, name)
			}
		}
	}
	return marks
}

// nameApps fills in the namespace of Apps that ClusterTokens leave out: it was the old
// operator's namespace, and the new operator has another one.
func nameApps(objects []*object, deployment *unstructured.Unstructured) {
	spaces := map[string][]string{}
	for _, o := range objects {
		if o.kind == kindApp {
			spaces[o.old.GetName()] = append(spaces[o.old.GetName()], o.old.GetNamespace())
		}
	}
	for _, o := range objects {
		if o.kind != kindClusterToken || o.wanted == nil {
			continue
		}
		name, isNamed, _ := unstructured.NestedString(o.wanted.Object, "spec", "appRef", "name")
		space, _, _ := unstructured.NestedString(o.wanted.Object, "spec", "appRef", "namespace")
		if !isNamed || space != "" {
			continue
		}
		switch {
		case deployment != nil:
			space = deployment.GetNamespace()
		case len(spaces[name]) == 1:
			space = spaces[name][0]
		default:
			o.problem = usererr.New("find the App "+name, "spec.appRef.namespace is missing and would be the old operator's namespace, which cannot be found", "write spec.appRef.namespace")
			continue
		}
		if err := unstructured.SetNestedField(o.wanted.Object, space, "spec", "appRef", "namespace"); err != nil {
			o.problem = err
		}
	}
}
