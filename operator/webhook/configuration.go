package webhook

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apply "k8s.io/client-go/applyconfigurations/admissionregistration/v1"
	applymeta "k8s.io/client-go/applyconfigurations/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gatepass/gatepass/internal/usererr"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
)

// hookName is the name of the one webhook in the configuration.
const hookName = "tenancy." + v1.Group

// timeout is how many seconds the API server waits for an answer.
const timeout = 5

// specChanged selects only changes of the spec for the webhook. Changes of metadata and
// finalizers must work during an outage. Status is a subresource and is never sent to
// the webhook.
const specChanged = "request.operation != 'UPDATE' || object.spec != oldObject.spec"

// appliedAnnotation holds a digest of what was applied. It distinguishes fields that
// others added (some clouds exclude their own namespaces) from another configuration of
// ours.
const appliedAnnotation = v1.Group + "/applied"

// wanted returns the configuration that the API server should have.
func (w *Webhook) wanted(bundle []byte, owners []metav1.OwnerReference) (*apply.ValidatingWebhookConfigurationApplyConfiguration, error) {
	all := apply.ValidatingWebhookConfiguration(Name).WithWebhooks(w.hook(bundle)).
		WithLabels(map[string]string{"app.kubernetes.io/managed-by": "gatepass-operator"})
	for _, owner := range owners {
		all.WithOwnerReferences(applymeta.OwnerReference().WithAPIVersion(owner.APIVersion).
			WithKind(owner.Kind).WithName(owner.Name).WithUID(owner.UID))
	}
	text, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	return all.WithAnnotations(map[string]string{appliedAnnotation: hex.EncodeToString(sum[:16])}), nil
}

func (w *Webhook) hook(bundle []byte) *apply.ValidatingWebhookApplyConfiguration {
	failure := admissionv1.Ignore
	if w.options.Fail {
		failure = admissionv1.Fail
	}
	reach := apply.WebhookClientConfig().WithCABundle(bundle...)
	if w.options.URL != "" {
		reach.WithURL(w.options.URL + path)
	} else {
		reach.WithService(apply.ServiceReference().WithNamespace(w.options.Namespace).
			WithName(w.options.Service).WithPort(443).WithPath(path))
	}
	namespaces := applymeta.LabelSelector()
	if only := w.options.WatchNamespaces; len(only) > 0 {
		namespaces.WithMatchExpressions(applymeta.LabelSelectorRequirement().
			WithKey(corev1.LabelMetadataName).WithOperator(metav1.LabelSelectorOpIn).WithValues(only...))
	}
	return apply.ValidatingWebhook().WithName(hookName).WithClientConfig(reach).
		WithRules(apply.RuleWithOperations().
			WithOperations(admissionv1.Create, admissionv1.Update).
			WithAPIGroups(v1.Group).WithAPIVersions("v1").
			WithResources("tokens", "clustertokens", "apps").WithScope(admissionv1.AllScopes)).
		WithNamespaceSelector(namespaces).
		WithMatchConditions(apply.MatchCondition().WithName("spec-changed").WithExpression(specChanged)).
		WithMatchPolicy(admissionv1.Equivalent).WithFailurePolicy(failure).
		WithSideEffects(admissionv1.SideEffectClassNone).
		WithAdmissionReviewVersions("v1").WithTimeoutSeconds(timeout)
}

// configure applies the configuration if it differs. Labels and annotations of others
// stay.
func (w *Webhook) configure(ctx context.Context, bundle []byte, owners []metav1.OwnerReference) error {
	wanted, err := w.wanted(bundle, owners)
	if err != nil {
		return err
	}
	current := &admissionv1.ValidatingWebhookConfiguration{}
	err = w.options.Client.Get(ctx, client.ObjectKey{Name: Name}, current)
	if err == nil && isApplied(current, wanted) {
		return nil
	}
	if err == nil || apierrors.IsNotFound(err) {
		err = w.options.Client.Apply(ctx, wanted, Manager, client.ForceOwnership)
	}
	if err != nil {
		return usererr.Wrap("write ValidatingWebhookConfiguration "+Name, err, "")
	}
	return nil
}

// isApplied reports whether wanted was applied and is still complete.
func isApplied(current *admissionv1.ValidatingWebhookConfiguration, wanted *apply.ValidatingWebhookConfigurationApplyConfiguration) bool {
	text, err := json.Marshal(wanted)
	if err != nil {
		return false
	}
	var typed admissionv1.ValidatingWebhookConfiguration
	if json.Unmarshal(text, &typed) != nil {
		return false
	}
	return equality.Semantic.DeepDerivative(typed.Webhooks, current.Webhooks) &&
		equality.Semantic.DeepDerivative(typed.Labels, current.Labels) &&
		equality.Semantic.DeepDerivative(typed.Annotations, current.Annotations) &&
		equality.Semantic.DeepDerivative(typed.OwnerReferences, current.OwnerReferences)
}

// Remove deletes the configuration. An operator without a webhook calls it; otherwise
// the API server would go on calling the webhook of an earlier run. If this operator
// has no permission to delete the configuration, it never wrote one, and Remove
// succeeds.
func Remove(ctx context.Context, c client.Client) error {
	gone := &admissionv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: Name}}
	err := c.Delete(ctx, gone)
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) {
		return usererr.Wrap("delete ValidatingWebhookConfiguration "+Name, err, "")
	}
	return nil
}
