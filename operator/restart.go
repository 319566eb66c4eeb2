package operator

import (
	"context"
	"encoding/json"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gatepass/gatepass/internal/usererr"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
)

// restart replaces the pods of the Deployments that the object's annotation names, in the
// namespace of the Secret, as "kubectl rollout restart" does. A Deployment that cannot be
// changed is told of, and stops nothing.
func (r *Reconciler) restart(ctx context.Context, v *view) {
	for name := range strings.SplitSeq(v.object.GetAnnotations()[v1.AnnotationRestart], ",") {
		name = strings.TrimSpace(name)
		if name == "" {
			continue
		}
		if err := r.restartOne(ctx, types.NamespacedName{Namespace: v.target.Namespace, Name: name}, v.in.Secret.Token); err != nil {
			r.warn(v, "RestartFailed", "Restart", "Deployment "+name+" was not restarted: "+usererr.Escape(err.Error()))
			continue
		}
		r.say(v, "Restarted", "Restart", "Deployment "+name+" is restarted with the new token")
	}
}

// restartOne changes the pod template. The token's hash says for which token: a second
// attempt for the same one changes nothing.
func (r *Reconciler) restartOne(ctx context.Context, name types.NamespacedName, token string) error {
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"template": map[string]any{
		"metadata": map[string]any{"annotations": map[string]string{annotationToken: token}},
	}}})
	if err != nil {
		return err
	}
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name}}
	return r.Client.Patch(ctx, deployment, client.RawPatch(types.StrategicMergePatchType, patch), Manager)
}
