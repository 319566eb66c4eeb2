package migrate

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/internal/usererr"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/operator/render"
	"github.com/gatepass/gatepass/operator/tenant"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// checkPolicies finds the objects whose tokens no policy would permit, so that their Secrets
// are not taken over: the operator deletes the Secret of such an object. The accounts
// of installations are unknown here; the operator checks them itself.
func (m *Move) checkPolicies(ctx context.Context, objects []*object) error {
	j := policyChecker{apps: map[string]v1.App{}, labels: map[string]map[string]string{}}
	if err := m.readPolicies(ctx, &j); err != nil {
		return err
	}
	for _, o := range objects {
		if o.kind == kindApp && o.problem == nil {
			var app v1.App
			o.problem = decode(o, &app)
			j.apps[key(o.old)] = app
		}
	}
	var denied []tenant.Request
	for _, o := range objects {
		if o.kind == kindApp || o.problem != nil {
			continue
		}
		ask, err := j.request(o)
		if err == nil {
			err = j.check(ask)
		}
		if _, is := errors.AsType[*tenant.Denied](err); is {
			denied = append(denied, ask)
		}
		o.problem = err
	}
	return m.suggestPolicy(denied, j.apps)
}

// A policyChecker decides by the cluster's policies.
type policyChecker struct {
	policies *tenant.Policies
	apps     map[string]v1.App
	labels   map[string]map[string]string // of namespaces
}

func (m *Move) readPolicies(ctx context.Context, j *policyChecker) error {
	found, _, err := m.list(ctx, policies, "")
	if err != nil {
		return err
	}
	list := make([]v1.TenantPolicy, len(found))
	for i := range found {
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(found[i].Object, &list[i]); err != nil {
			return usererr.Wrap("read TenantPolicy "+found[i].GetName(), err, "")
		}
	}
	j.policies = tenant.Compile(list)
	spaces, _, err := m.list(ctx, namespaces, "")
	for i := range spaces {
		j.labels[spaces[i].GetName()] = spaces[i].GetLabels()
	}
	return err
}

// decode decodes the object as it is or will be.
func decode(o *object, typed any) error {
	from := o.wanted
	if o.new != nil {
		from = o.new
	}
	return runtime.DefaultUnstructuredConverter.FromUnstructured(from.Object, typed)
}

// request returns what an object asks for. It returns an error if the object's Secret
// cannot be made.
func (j *policyChecker) request(o *object) (tenant.Request, error) {
	ask := tenant.Request{Kind: o.kind.name, OwnerUnknown: true, App: tenant.App{Default: true}}
	var app v1.AppReference
	var shape v1.SecretShape
	namespace := o.old.GetNamespace()
	switch o.kind {
	case kindToken:
		var t v1.Token
		if err := decode(o, &t); err != nil {
			return ask, err
		}
		ask.Access, ask.Owner, shape = t.Spec.Access, t.Spec.Owner, t.Spec.Secret
		if t.Spec.AppRef != nil {
			app = v1.AppReference{Name: t.Spec.AppRef.Name, Namespace: namespace}
		}
	default:
		var t v1.ClusterToken
		if err := decode(o, &t); err != nil {
			return ask, err
		}
		ask.Access, ask.Owner, shape, namespace = t.Spec.Access, t.Spec.Owner, t.Spec.Secret.SecretShape, t.Spec.Secret.Namespace
		if t.Spec.AppRef != nil {
			app = *t.Spec.AppRef
		}
	}
	ask.Namespace = tenant.Namespace{Name: namespace, Labels: j.labels[namespace]}
	ask.SecretType = render.Type(shape)
	if app.Name != "" {
		ask.App = tenant.App{Namespace: app.Namespace, Name: app.Name, Provider: j.apps[app.Namespace+"/"+app.Name].Spec.Provider}
	}
	return ask, render.Check(shape)
}

// check asks the policies, also about the App's key.
func (j *policyChecker) check(ask tenant.Request) error {
	if err := j.policies.Check(ask); err != nil {
		return err
	}
	app, is := j.apps[ask.App.Namespace+"/"+ask.App.Name]
	if ask.App.Default || !is {
		return nil
	}
	return j.policies.CheckApp(app, tenant.Namespace{Name: app.Namespace, Labels: j.labels[app.Namespace]}, "")
}

// target returns where the Secret of an object is.
func target(u *unstructured.Unstructured) (namespace, name string) {
	namespace, name = u.GetNamespace(), u.GetName()
	if own, _, _ := unstructured.NestedString(u.Object, "spec", "secret", "name"); own != "" {
		name = own
	}
	if namespace == "" {
		namespace, _, _ = unstructured.NestedString(u.Object, "spec", "secret", "namespace")
	}
	return namespace, name
}

// suggestPolicy prints a TenantPolicy that permits what was denied, for a person to review
// and apply. github-token-manager permitted everything.
func (m *Move) suggestPolicy(denied []tenant.Request, apps map[string]v1.App) error {
	if len(denied) == 0 {
		return nil
	}
	policy := Policy(denied, apps)
	text, err := yaml.Marshal(struct {
		metav1.TypeMeta `json:",inline"`
		Metadata        map[string]string   `json:"metadata"`
		Spec            v1.TenantPolicySpec `json:"spec"`
	}{policy.TypeMeta, map[string]string{"name": policy.Name}, policy.Spec})
	if err != nil {
		return err
	}
	m.print("# a policy that permits what was permitted before. Make it narrower, most of all owners and")
	m.print("# repositories, apply it, and run this again. It cannot permit allPermissions.")
	for line := range strings.Lines(string(text)) {
		m.print("%s", strings.TrimRight(line, "\n"))
	}
	return nil
}

// Policy returns one TenantPolicy that permits everything that asks ask for, except
// allPermissions.
func Policy(asks []tenant.Request, apps map[string]v1.App) v1.TenantPolicy {
	names, targets, used, keys := map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}
	spec := v1.TenantPolicySpec{Owners: []string{"*"}, Repositories: []string{"*"}, Permissions: map[string]v1.PermissionLevel{}}
	for _, ask := range asks {
		used[ask.App.String()] = true
		if ask.Kind == tenant.KindClusterToken {
			targets[ask.Namespace.Name] = true
		} else {
			names[ask.Namespace.Name] = true
		}
		if app := apps[ask.App.String()]; app.Spec.Key != "" {
			names[app.Namespace] = true
			keys[string(app.Spec.Provider)+":"+app.Spec.Key] = true
		}
		for name, level := range ask.Access.Permissions {
			spec.Permissions[name] = higher(spec.Permissions[name], level)
		}
	}
	spec.Namespaces.Names, spec.TargetNamespaces = sorted(names), sorted(targets)
	spec.Apps, spec.Keys = sorted(used), sorted(keys)
	return v1.TenantPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: newVersion, Kind: "TenantPolicy"},
		ObjectMeta: metav1.ObjectMeta{Name: "github-token-manager"},
		Spec:       spec,
	}
}

func sorted(set map[string]bool) []string { return slices.Sorted(maps.Keys(set)) }

// higher returns the level that allows more.
func higher(a, b v1.PermissionLevel) v1.PermissionLevel {
	order := []v1.PermissionLevel{"", "read", "write", "admin"}
	if slices.Index(order, a) > slices.Index(order, b) {
		return a
	}
	return b
}
