package migrate

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gatepass/gatepass/internal/oneline"
)

// Run makes a new object for each of github-token-manager's, and takes its Secret over.
// It may be run again: what is done already stays.
//
// An object whose token would not be permitted is left alone with its Secret, and Run
// fails in the end. The old operator has to be stopped: Run refuses to begin while its
// Deployment has pods that are ready.
func (m *Move) Run(ctx context.Context) error {
	deployment, err := m.oldOperator(ctx)
	if err != nil {
		return err
	}
	objects, err := m.read(ctx, deployment)
	if err != nil {
		return err
	}
	if err := m.judge(ctx, objects); err != nil {
		return err
	}
	for _, o := range objects {
		m.make(ctx, o)
	}
	if err := m.verdicts(ctx, objects); err != nil {
		return err
	}
	for _, o := range objects {
		if o.kind != kindApp && o.problem == nil && !m.DryRun {
			m.take(ctx, o)
		}
	}
	return m.report(objects, deployment)
}

// oldOperator returns the old operator's Deployment, and nil where there is none under
// the labels that its chart and its Kustomize base give. One that runs is an error.
func (m *Move) oldOperator(ctx context.Context) (*unstructured.Unstructured, error) {
	found, _, err := m.list(ctx, deployments, "app.kubernetes.io/name=github-token-manager")
	if err != nil || len(found) == 0 {
		return nil, err
	}
	d := &found[0]
	ready, _, _ := unstructured.NestedInt64(d.Object, "status", "readyReplicas")
	if ready > 0 && !m.DryRun {
		return nil, oneline.New("take over the Secrets", "github-token-manager is running",
			fmt.Sprintf("stop it first, the tokens in the Secrets stay good for half an hour: kubectl -n %s scale deployment/%s --replicas=0", d.GetNamespace(), d.GetName()))
	}
	return d, nil
}

// make makes the new object, or finds the one that is there.
func (m *Move) make(ctx context.Context, o *object) {
	if o.problem != nil {
		return
	}
	api := m.in(o.kind.new(), o.old.GetNamespace())
	if o.new == nil {
		made, err := api.Create(ctx, o.wanted, metav1.CreateOptions{FieldManager: fieldManager, DryRun: m.dry()})
		if err != nil {
			o.problem = oneline.Wrap("make the new object", err, "")
			return
		}
		o.new = made
		m.say("%s: %s", o, m.done("made in "+newVersion, "would be made in "+newVersion))
		return
	}
	m.say("%s: is there in %s already", o, newVersion)
	if o.new.GetAnnotations()[AnnotationFrom] != "" || m.DryRun {
		return
	}
	err := m.patch(ctx, o.kind.new(), o.new, map[string]any{"annotations": map[string]any{AnnotationFrom: o.wanted.GetAnnotations()[AnnotationFrom]}})
	if err != nil {
		o.problem = oneline.Wrap("note where the new object comes from", err, "")
	}
}

func (m *Move) done(done, would string) string {
	if m.DryRun {
		return would
	}
	return done
}

// verdicts waits until the operator has said of each new object whether it is
// permitted. An operator that says nothing is not running.
func (m *Move) verdicts(ctx context.Context, objects []*object) error {
	look := m.Look
	if look == 0 {
		look = 10 * time.Second
	}
	if m.DryRun {
		return nil
	}
	for end := time.Now().Add(look); ; {
		missing, err := m.ask(ctx, objects)
		if err != nil || missing == 0 {
			return err
		}
		if time.Now().After(end) {
			m.say("gatepass-operator has not looked at %d of the new objects: see that it runs", missing)
			return nil
		}
		if err := pause(ctx, 250*time.Millisecond); err != nil {
			return err
		}
	}
}

// ask returns how many objects have no verdict yet. One that is denied becomes a
// problem.
func (m *Move) ask(ctx context.Context, objects []*object) (missing int, err error) {
	for _, o := range objects {
		if o.kind == kindApp || o.problem != nil {
			continue
		}
		live, err := m.in(o.kind.new(), o.old.GetNamespace()).Get(ctx, o.old.GetName(), metav1.GetOptions{})
		if err != nil {
			return 0, oneline.Wrap("read "+o.String(), err, "")
		}
		o.new = live
		switch status, message := permitted(live); status {
		case "False":
			o.problem = fmt.Errorf("%s", message)
		case "":
			missing++
		}
	}
	return missing, nil
}

// permitted returns the condition Permitted of an object's current spec.
func permitted(u *unstructured.Unstructured) (status, message string) {
	observed, _, _ := unstructured.NestedInt64(u.Object, "status", "observedGeneration")
	conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	for _, one := range conditions {
		condition, _ := one.(map[string]any)
		if condition["type"] == "Permitted" && observed == u.GetGeneration() {
			status, _ = condition["status"].(string)
			message, _ = condition["message"].(string)
		}
	}
	return status, message
}

// report says what is left to do, and fails where something is left over.
func (m *Move) report(objects []*object, deployment *unstructured.Unstructured) error {
	left := 0
	for _, o := range objects {
		if o.problem != nil {
			left++
			m.say("%s: left alone: %v", o, o.problem)
		}
	}
	if m.DryRun {
		m.say("nothing was changed")
	}
	m.say("left to do by hand:")
	if deployment != nil {
		m.say("  keep github-token-manager stopped: kubectl -n %s scale deployment/%s --replicas=0", deployment.GetNamespace(), deployment.GetName())
	} else {
		m.say("  stop github-token-manager, if it runs: scale its Deployment to 0")
	}
	m.say("  give gatepass-operator the Secret gtm-config at /config: it reads gtm.yaml as it is")
	m.say("  see that all are Ready: kubectl get tokens.%s,clustertokens.%[1]s -A", "gatepass.dev")
	m.say("  delete the old objects: kubectl delete tokens.%s,apps.%[1]s -A --all && kubectl delete clustertokens.%[1]s --all", oldGroup)
	m.say("the way back is: gatepass migrate github-token-manager --undo")
	if left > 0 {
		return oneline.New("migrate", fmt.Sprintf("%d of %d objects are left alone", left, len(objects)), "do what is said above of each, and run it again")
	}
	return nil
}

// patch changes an object's metadata, if it is still as it was read.
func (m *Move) patch(ctx context.Context, resource schema.GroupVersionResource, u *unstructured.Unstructured, metadata map[string]any) error {
	metadata["resourceVersion"] = u.GetResourceVersion()
	metadata["uid"] = string(u.GetUID())
	text, err := json.Marshal(map[string]any{"metadata": metadata})
	if err != nil {
		return err
	}
	_, err = m.in(resource, u.GetNamespace()).Patch(ctx, u.GetName(), types.MergePatchType, text, metav1.PatchOptions{FieldManager: fieldManager})
	return err
}
