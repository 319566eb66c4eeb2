package webhook

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"

	admissionapi "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/gatepass/gatepass/internal/usererr"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/operator/render"
	"github.com/gatepass/gatepass/operator/tenant"
)

// A validator answers the API server's admission reviews.
type validator struct {
	direct, cached client.Reader
	namespace      string // the operator's namespace
	github         string
	fail           bool
	compiled       tenant.Cache
}

func (w *Webhook) validator() *validator {
	o := w.options
	return &validator{direct: o.Client, cached: o.Reader, namespace: o.Namespace, github: o.GitHubURL, fail: o.Fail}
}

// Handle answers whether an object may be written.
func (j *validator) Handle(ctx context.Context, r admission.Request) admission.Response {
	if r.Operation != admissionapi.Create && r.Operation != admissionapi.Update {
		return admission.Allowed("")
	}
	refused, err := j.validate(ctx, r)
	switch {
	case err != nil && j.fail:
		return admission.Errored(http.StatusInternalServerError, err)
	case err != nil:
		return admission.Allowed("").WithWarnings(err.Error())
	case refused != nil:
		return admission.Denied(refused.Error())
	}
	return admission.Allowed("")
}

// validate returns why the object is refused, or an error if it cannot decide.
func (j *validator) validate(ctx context.Context, r admission.Request) (refused, err error) {
	switch r.Kind.Kind {
	case "Token":
		var token v1.Token
		if err := decode(r, &token); err != nil {
			return err, nil
		}
		return j.token(ctx, tokenRequest(r.Namespace, token.Spec), token.Spec.Secret)
	case "ClusterToken":
		var token v1.ClusterToken
		if err := decode(r, &token); err != nil {
			return err, nil
		}
		return j.token(ctx, clusterTokenRequest(j.namespace, token.Spec), token.Spec.Secret.SecretShape)
	case "App":
		var app v1.App
		if err := decode(r, &app); err != nil {
			return err, nil
		}
		app.Namespace = r.Namespace
		return j.app(ctx, app)
	}
	return usererr.New("judge "+r.Kind.Kind, "the webhook is for Tokens, ClusterTokens and Apps only", ""), nil
}

func decode(r admission.Request, into any) error {
	if err := json.Unmarshal(r.Object.Raw, into); err != nil {
		return usererr.Wrap("read the object", err, "")
	}
	return nil
}

// tokenRequest returns what a Token asks for. The account is known only if the spec names
// it; the account of an installation is looked up before the mint.
func tokenRequest(namespace string, spec v1.TokenSpec) tenant.Request {
	ask := tenant.Request{
		Kind: tenant.KindToken, Namespace: tenant.Namespace{Name: namespace},
		App:   tenant.App{Default: spec.AppRef == nil},
		Owner: spec.Owner, OwnerUnknown: spec.Owner == "",
		Access: spec.Access, SecretType: render.Type(spec.Secret),
	}
	if spec.AppRef != nil {
		ask.App.Namespace, ask.App.Name = namespace, spec.AppRef.Name
	}
	return ask
}

// clusterTokenRequest returns what a ClusterToken asks for. An App without a namespace is
// in the operator's namespace.
func clusterTokenRequest(operator string, spec v1.ClusterTokenSpec) tenant.Request {
	ask := tenant.Request{
		Kind: tenant.KindClusterToken, Namespace: tenant.Namespace{Name: spec.Secret.Namespace},
		App:   tenant.App{Default: spec.AppRef == nil},
		Owner: spec.Owner, OwnerUnknown: spec.Owner == "",
		Access: spec.Access, SecretType: render.Type(spec.Secret.SecretShape),
	}
	if spec.AppRef != nil {
		ask.App.Namespace, ask.App.Name = cmp.Or(spec.AppRef.Namespace, operator), spec.AppRef.Name
	}
	return ask
}

// token decides about a Token or a ClusterToken. A suspended one asks for nothing, so a
// user who lost a permission can still suspend it.
func (j *validator) token(ctx context.Context, ask tenant.Request, shape v1.SecretShape) (refused, err error) {
	if ask.Access.Suspend {
		return nil, nil
	}
	policies, err := j.policies(ctx)
	if err != nil {
		return nil, err
	}
	if ask.Namespace, err = j.namespaceOf(ctx, ask); err != nil {
		return nil, err
	}
	if ask.App.Provider, err = j.provider(ctx, ask.App); err != nil {
		return nil, err
	}
	if refused = policies.Check(ask); refused != nil {
		return refused, nil
	}
	return render.Check(shape), nil
}

func (j *validator) app(ctx context.Context, app v1.App) (refused, err error) {
	policies, err := j.policies(ctx)
	if err != nil {
		return nil, err
	}
	in, err := j.namespaceLabels(ctx, app.Namespace)
	if err != nil {
		return nil, err
	}
	return policies.CheckApp(app, in, j.github), nil
}

func (j *validator) policies(ctx context.Context) (*tenant.Policies, error) {
	var list v1.TenantPolicyList
	if err := j.cached.List(ctx, &list); err != nil {
		return nil, usererr.Wrap("read the TenantPolicies", err, "")
	}
	policies, _ := j.compiled.Compile(list.Items)
	return policies, nil
}

// namespaceOf returns the namespace that policies select by. A ClusterToken's target is
// selected by its name only, because it may not exist yet.
func (j *validator) namespaceOf(ctx context.Context, ask tenant.Request) (tenant.Namespace, error) {
	if ask.Kind == tenant.KindClusterToken {
		return ask.Namespace, nil
	}
	return j.namespaceLabels(ctx, ask.Namespace.Name)
}

// namespaceLabels reads a namespace's labels, as metadata only, to share the cache of the
// controllers. A namespace that is not in the cache yet is read from the API server.
func (j *validator) namespaceLabels(ctx context.Context, name string) (tenant.Namespace, error) {
	var found metav1.PartialObjectMetadata
	found.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	err := j.cached.Get(ctx, client.ObjectKey{Name: name}, &found)
	if apierrors.IsNotFound(err) {
		err = j.direct.Get(ctx, client.ObjectKey{Name: name}, &found)
	}
	if err != nil {
		return tenant.Namespace{}, usererr.Wrap("read namespace "+name, err, "")
	}
	return tenant.Namespace{Name: name, Labels: found.Labels}, nil
}

// provider returns the provider of an App. An App that does not exist yet may follow in
// the same change; it is checked then, and again before a mint.
func (j *validator) provider(ctx context.Context, app tenant.App) (v1.Provider, error) {
	if app.Default {
		return "", nil
	}
	var found v1.App
	err := j.cached.Get(ctx, client.ObjectKey{Namespace: app.Namespace, Name: app.Name}, &found)
	if apierrors.IsNotFound(err) {
		return v1.ProviderSecret, nil
	}
	if err != nil {
		return "", usererr.Wrap("read App "+app.String(), err, "")
	}
	return found.Spec.Provider, nil
}
