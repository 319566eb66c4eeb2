package migrate

import (
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/gatepass/gatepass/internal/usererr"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/operator/render"
	"github.com/gatepass/gatepass/operator/tenant"
)

// judge finds the objects whose tokens no policy would permit. The operator deletes the
// Secret of such an object, so its Secret is not taken over. The accounts of
// installations are not known here: the operator says of them itself.
func (m *Move) judge(ctx context.Context, objects []*object) error {
	j := judge{apps: map[string]v1.App{}, labels: map[string]map[string]string{}}
	if err := m.readPolicies(ctx, &j); err != nil {
		return err
	}
	for _, o := range objects {
		if o.kind == kindApp && o.problem == nil {
			var app v1.App
			o.problem = into(o, &app)
			j.apps[key(o.old)] = app
		}
	}
	var denied []tenant.Ask
	for _, o := range objects {
		if o.kind == kindApp || o.problem != nil {
			continue
		}
		ask, err := j.ask(o)
		if err == nil {
			err = j.check(ask)
		}
		if _, is := errors.AsType[*tenant.Denied](err); is {
			denied = append(denied, ask)
		}
		o.problem = err
	}
	return m.suggest(denied, j.apps)
}

// A judge knows what the cluster's policies are about.
type judge struct {
	policies *tenant.Policies
	apps     map[string]v1.App
	labels   map[string]map[string]string // of namespaces
}

func (m *Move) readPolicies(ctx context.Context, j *judge) error {
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

// into reads the object as it is or will be.
func into(o *object, typed any) error {
	from := o.wanted
	if o.new != nil {
		from = o.new
	}
	return runtime.DefaultUnstructuredConverter.FromUnstructured(from.Object, typed)
}

// ask says what an object asks for. It is an error if its Secret cannot be made.
func (j *judge) ask(o *object) (tenant.Ask, error) {
	ask := tenant.Ask{Kind: o.kind.name, OwnerUnknown: true, App: tenant.App{Default: true}}
	var app v1.AppReference
	var shape v1.SecretShape
	namespace := o.old.GetNamespace()
	switch o.kind {
	case kindToken:
		var t v1.Token
		if err := into(o, &t); err != nil {
			return ask, err
		}
		ask.Access, ask.Owner, shape = t.Spec.Access, t.Spec.Owner, t.Spec.Secret
		if t.Spec.AppRef != nil {
			app = v1.AppReference{Name: t.Spec.AppRef.Name, Namespace: namespace}
		}
	default:
		var t v1.ClusterToken
		if err := into(o, &t); err != nil {
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

// check asks the policies, of the App's key too.
func (j *judge) check(ask tenant.Ask) error {
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
