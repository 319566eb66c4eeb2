package operator

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/internal/usererr"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
	"github.com/gatepass/gatepass/operator/plan"
	"github.com/gatepass/gatepass/operator/render"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// annotationToken is base64(sha256(token)), as in GitHub's audit log.
	annotationToken = v1.Group + "/token-sha256"
	// annotationManaged lists what the operator wrote into the Secret, so that it can
	// remove exactly that later.
	annotationManaged = v1.Group + "/managed"
)

// A desiredSecret is a Secret as it must be.
type desiredSecret struct {
	render.Rendered
	owner  metav1.OwnerReference
	target plan.Ref
}

// desired returns the Secret of a subject with a token.
func (s *subject) desired(token render.Token) (desiredSecret, error) {
	rendered, err := render.Render(*s.shape, token)
	if err != nil {
		return desiredSecret{}, err
	}
	labels, annotations := maps.Clone(rendered.Labels), maps.Clone(rendered.Annotations)
	if labels == nil {
		labels = map[string]string{}
	}
	if annotations == nil {
		annotations = map[string]string{}
	}
	maps.Copy(labels, s.labels())
	annotations[v1.AnnotationExpires] = token.Expiry.UTC().Format("2006-01-02T15:04:05Z")
	annotations[annotationToken] = token.Hash()
	rendered.Labels, rendered.Annotations = labels, annotations
	w := desiredSecret{rendered, s.reference(), s.target}
	annotations[annotationManaged] = w.managed()
	return w, nil
}

func (s *subject) labels() map[string]string {
	return map[string]string{
		"app.kubernetes.io/managed-by": string(Manager),
		"app.kubernetes.io/part-of":    "gatepass",
		v1.LabelOwnerKind:              s.kind,
		v1.LabelOwnerName:              labelValue(s.object.GetName()),
	}
}

// managed returns all keys that the operator writes, sorted.
func (w desiredSecret) managed() string {
	var names []string
	for kind, keys := range map[string][]string{
		"data/":       slices.Collect(maps.Keys(w.Data)),
		"label/":      slices.Collect(maps.Keys(w.Labels)),
		"annotation/": slices.Collect(maps.Keys(w.Annotations)),
	} {
		for _, key := range keys {
			names = append(names, kind+key)
		}
	}
	slices.Sort(names)
	return strings.Join(slices.DeleteFunc(names, func(n string) bool { return n == "annotation/"+annotationManaged }), ",")
}

// isIntact reports whether a Secret is as wanted. It ignores what other writers added.
func (w desiredSecret) isIntact(s *corev1.Secret) bool {
	return string(s.Type) == w.Type && s.DeletionTimestamp == nil &&
		containsText(s.Labels, w.Labels) && containsText(s.Annotations, w.Annotations) &&
		slices.ContainsFunc(s.OwnerReferences, func(o metav1.OwnerReference) bool { return o.UID == w.owner.UID }) &&
		containsData(s.Data, w.Data)
}

func containsText(have, want map[string]string) bool {
	for key, value := range want {
		if got, ok := have[key]; !ok || got != value {
			return false
		}
	}
	return true
}

func containsData(have, want map[string][]byte) bool {
	for key, value := range want {
		if got, ok := have[key]; !ok || !bytes.Equal(got, value) {
			return false
		}
	}
	return true
}

// fill writes the wanted content into a Secret, removes what the operator wrote before
// and no longer wants, and leaves the rest.
func (w desiredSecret) fill(s *corev1.Secret) {
	for name := range strings.SplitSeq(s.Annotations[annotationManaged], ",") {
		kind, key, _ := strings.Cut(name, "/")
		switch kind {
		case "data":
			delete(s.Data, key)
		case "label":
			delete(s.Labels, key)
		case "annotation":
			delete(s.Annotations, key)
		}
	}
	s.Type = corev1.SecretType(w.Type)
	s.Data = merged(s.Data, w.Data)
	s.Labels, s.Annotations = merged(s.Labels, w.Labels), merged(s.Annotations, w.Annotations)
	delete(s.Annotations, v1.AnnotationAdopt)
	s.OwnerReferences = slices.DeleteFunc(s.OwnerReferences, func(o metav1.OwnerReference) bool {
		return o.UID == w.owner.UID || o.Kind == w.owner.Kind && o.APIVersion == w.owner.APIVersion && o.Name == w.owner.Name
	})
	s.OwnerReferences = append(s.OwnerReferences, w.owner)
}

func merged[V any](have, more map[string]V) map[string]V {
	if have == nil {
		have = map[string]V{}
	}
	maps.Copy(have, more)
	return have
}

// stateOf returns the state of a live Secret: which object it belongs to.
func (s *subject) stateOf(secret *corev1.Secret) plan.State {
	controller := metav1.GetControllerOf(secret)
	switch {
	case controller != nil && controller.UID == s.object.GetUID():
		return plan.Ours
	case controller != nil && (controller.Kind != s.kind || controller.APIVersion != v1.GroupVersion.String() || controller.Name != s.object.GetName()):
		return plan.Foreign
	case controller != nil: // a deleted object of this name
		return plan.Ours
	case secret.Annotations[v1.AnnotationAdopt] == s.object.GetNamespace()+"/"+s.object.GetName():
		return plan.Ours
	case s.isLabelled(secret) && secret.Annotations[annotationToken] != "":
		return plan.Ours // its owner reference was removed
	}
	return plan.Foreign
}

func (s *subject) isLabelled(secret *corev1.Secret) bool {
	return secret.Labels[v1.LabelOwnerKind] == s.kind && secret.Labels[v1.LabelOwnerName] == labelValue(s.object.GetName())
}

// A secretWriter writes and deletes the Secrets of Tokens.
type secretWriter struct {
	client  client.Client
	reader  client.Reader // does not cache
	metrics *Metrics
}

func (r *Reconciler) writer() secretWriter { return secretWriter{r.Client, r.Secrets, r.Metrics} }

// write writes the Secret and returns its resourceVersion. live is the Secret as it was
// read; nil if there was none. If the Secret changed since, the error is a conflict.
func (s secretWriter) write(ctx context.Context, w desiredSecret, live *corev1.Secret) (string, error) {
	if live == nil {
		return s.create(ctx, w, &corev1.Secret{})
	}
	isImmutable := live.Immutable != nil && *live.Immutable
	if string(live.Type) != w.Type || isImmutable {
		return s.replace(ctx, w, live)
	}
	next := live.DeepCopy()
	w.fill(next)
	err := s.client.Update(ctx, next, Manager)
	s.metrics.secret("update", err)
	return next.ResourceVersion, err
}

func (s secretWriter) create(ctx context.Context, w desiredSecret, from *corev1.Secret) (string, error) {
	next := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: w.target.Namespace, Name: w.target.Name,
			Labels: from.Labels, Annotations: from.Annotations, OwnerReferences: from.OwnerReferences,
		},
		Data: from.Data,
	}
	w.fill(next)
	err := s.client.Create(ctx, next, Manager)
	s.metrics.secret("create", err)
	return next.ResourceVersion, err
}

// replace deletes a Secret that cannot be changed, and creates its successor at once.
// If the process ends in between, the next reconcile finds no Secret and writes the
// held token again.
func (s secretWriter) replace(ctx context.Context, w desiredSecret, live *corev1.Secret) (string, error) {
	if err := s.probe(ctx, w); err != nil {
		return "", err
	}
	uid, version := live.UID, live.ResourceVersion
	err := s.client.Delete(ctx, live, client.Preconditions{UID: &uid, ResourceVersion: &version})
	s.metrics.secret("delete", err)
	if err != nil {
		return "", err
	}
	return s.create(ctx, w, live)
}

// probe has the API server check a new Secret in a dry run under an unused name: the
// namespace, quotas, admission.
func (s secretWriter) probe(ctx context.Context, w desiredSecret) error {
	next := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.target.Namespace, GenerateName: w.target.Name[:min(len(w.target.Name), 200)] + "-"}}
	w.fill(next)
	return s.client.Create(ctx, next, Manager, client.DryRunAll)
}

// remove deletes a Secret if it still belongs to the object.
func (s secretWriter) remove(ctx context.Context, ref plan.Ref, isOurs func(*corev1.Secret) bool) error {
	var live corev1.Secret
	err := s.reader.Get(ctx, types.NamespacedName(ref), &live)
	if err != nil {
		return client.IgnoreNotFound(err)
	}
	if !isOurs(&live) {
		return nil
	}
	err = s.client.Delete(ctx, &live, client.Preconditions{UID: &live.UID, ResourceVersion: &live.ResourceVersion})
	s.metrics.secret("delete", err)
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// labelValue shortens a name to a valid label: at most 63 characters.
func labelValue(name string) string {
	if len(name) <= 63 {
		return name
	}
	return fmt.Sprintf("%s-%08x", strings.TrimRight(name[:54], "-."), fnv32(name))
}

// restartDeployments restarts the Deployments that the object's annotation names, in the namespace
// of the Secret, as "kubectl rollout restart" does. A Deployment that cannot be changed
// is reported and does not stop the rest.
func restartDeployments(ctx context.Context, c client.Client, events recorder, v *view) {
	for name := range strings.SplitSeq(v.object.GetAnnotations()[v1.AnnotationRestart], ",") {
		name = strings.TrimSpace(name)
		if name == "" {
			continue
		}
		if err := restartDeployment(ctx, c, types.NamespacedName{Namespace: v.target.Namespace, Name: name}, v.in.Secret.Token); err != nil {
			events.warn(v, "RestartFailed", "Restart", "Deployment "+name+" was not restarted: "+usererr.Escape(err.Error()))
			continue
		}
		events.say(v, "Restarted", "Restart", "Deployment "+name+" is restarted with the new token")
	}
}

// restartDeployment changes the pod template. The annotation has the hash of the token, so a
// second attempt for the same token changes nothing.
func restartDeployment(ctx context.Context, c client.Client, name types.NamespacedName, token string) error {
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"template": map[string]any{
		"metadata": map[string]any{"annotations": map[string]string{annotationToken: token}},
	}}})
	if err != nil {
		return err
	}
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name}}
	return c.Patch(ctx, deployment, client.RawPatch(types.StrategicMergePatchType, patch), Manager)
}
