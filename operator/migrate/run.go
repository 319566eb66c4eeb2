package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gatepass/gatepass/internal/usererr"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
)

// Run creates a new object for each object of github-token-manager, and takes its
// Secret over. It may be run again: finished work stays.
//
// Run leaves an object alone, with its Secret, if its token would not be permitted, and
// returns an error at the end. The old operator must be stopped: Run refuses to begin
// while its Deployment has ready pods.
func (m *Move) Run(ctx context.Context) error {
	deployment, err := m.oldOperator(ctx)
	if err != nil {
		return err
	}
	objects, err := m.read(ctx, deployment)
	if err != nil {
		return err
	}
	if err := m.checkPolicies(ctx, objects); err != nil {
		return err
	}
	for _, o := range objects {
		m.create(ctx, o)
	}
	if !m.DryRun {
		if err := m.takeOverAll(ctx, objects); err != nil {
			return err
		}
	}
	return m.report(objects, deployment)
}

// takeOverAll takes over the Secrets of permitted objects, and waits a moment for the
// operator to make their tokens.
func (m *Move) takeOverAll(ctx context.Context, objects []*object) error {
	missing, err := m.waitFor(ctx, objects, verdict)
	if err != nil {
		return err
	}
	for _, o := range objects {
		if o.kind != kindApp && o.problem == nil {
			m.takeOver(ctx, o)
		}
	}
	if missing > 0 {
		m.print("gatepass-operator has not processed %d of the new objects: check that it runs", missing)
		return nil
	}
	_, err = m.waitFor(ctx, objects, readiness)
	return err
}

// oldOperator returns the old operator's Deployment, or nil if no Deployment has the
// labels of its chart or its Kustomize base. It returns an error if the old operator
// runs.
func (m *Move) oldOperator(ctx context.Context) (*unstructured.Unstructured, error) {
	found, _, err := m.list(ctx, deployments, "app.kubernetes.io/name=github-token-manager")
	if err != nil || len(found) == 0 {
		return nil, err
	}
	for i := range found {
		ready, _, _ := unstructured.NestedInt64(found[i].Object, "status", "readyReplicas")
		if ready > 0 && !m.DryRun {
			return nil, usererr.New("take over the Secrets", "github-token-manager is running",
				fmt.Sprintf("stop it first (the tokens in the Secrets stay valid for half an hour): kubectl -n %s scale deployment/%s --replicas=0", found[i].GetNamespace(), found[i].GetName()))
		}
	}
	return &found[0], nil
}

// create creates the new object, or finds the existing one.
func (m *Move) create(ctx context.Context, o *object) {
	if o.problem != nil {
		return
	}
	api := m.resource(o.kind.new(), o.old.GetNamespace())
	if o.new == nil {
		made, err := api.Create(ctx, o.wanted, metav1.CreateOptions{FieldManager: fieldManager, DryRun: m.dryRun()})
		if err != nil {
			o.problem = usererr.Wrap("create the new object", err, "")
			return
		}
		o.new = made
		m.print("%s: %s", o, m.done("created in "+newVersion, "would be created in "+newVersion))
		return
	}
	m.print("%s: exists in %s already", o, newVersion)
	if o.new.GetAnnotations()[AnnotationFrom] != "" || m.DryRun {
		return
	}
	err := m.patch(ctx, o.kind.new(), o.new, map[string]any{"annotations": map[string]any{AnnotationFrom: o.wanted.GetAnnotations()[AnnotationFrom]}})
	if err != nil {
		o.problem = usererr.Wrap("record the origin of the new object", err, "")
	}
}

func (m *Move) done(done, would string) string {
	if m.DryRun {
		return would
	}
	return done
}

// waitFor polls the new objects until seen is true for all, and returns for how many it
// is false when time is up. An error of seen becomes the object's problem.
func (m *Move) waitFor(ctx context.Context, objects []*object, seen func(*unstructured.Unstructured) (bool, error)) (missing int, err error) {
	look := m.Look
	if look == 0 {
		look = 10 * time.Second
	}
	for end := time.Now().Add(look); ; {
		missing, err = m.poll(ctx, objects, seen)
		if err != nil || missing == 0 || time.Now().After(end) {
			return missing, err
		}
		if err := pause(ctx, min(look, 250*time.Millisecond)); err != nil {
			return missing, err
		}
	}
}

func (m *Move) poll(ctx context.Context, objects []*object, seen func(*unstructured.Unstructured) (bool, error)) (missing int, err error) {
	live := map[kind]map[string]*unstructured.Unstructured{}
	for _, k := range []kind{kindToken, kindClusterToken} {
		items, _, err := m.list(ctx, k.new(), "")
		if err != nil {
			return 0, err
		}
		live[k] = byName(items)
	}
	for _, o := range objects {
		if o.kind == kindApp || o.problem != nil {
			continue
		}
		if o.new = live[o.kind][key(o.old)]; o.new == nil {
			o.problem = usererr.New("read the new object", "it was deleted", "run this again")
			continue
		}
		isSeen, err := seen(o.new)
		if err != nil {
			o.problem = err
		} else if !isSeen {
			missing++
		}
	}
	return missing, nil
}

// verdict reports whether the operator has permitted an object.
func verdict(u *unstructured.Unstructured) (bool, error) {
	status, _, message := condition(u, v1.ConditionPermitted)
	if status == "False" {
		return true, errors.New(message)
	}
	return status != "", nil
}

// readiness reports whether the operator has made a token. A condition that complains
// about the Secret's old owner is out of date and does not count.
func readiness(u *unstructured.Unstructured) (bool, error) {
	status, reason, message := condition(u, v1.ConditionReady)
	if status == "False" && reason != v1.ReasonSecretConflict && reason != v1.ReasonRateLimited {
		return true, usererr.New("it is taken over but not Ready", message, "correct that within half an hour, while the old token is valid, or give the Secrets back with --undo")
	}
	return status == "True", nil
}

// condition returns a condition if it is about the object's current spec.
func condition(u *unstructured.Unstructured, name string) (status, reason, message string) {
	observed, _, _ := unstructured.NestedInt64(u.Object, "status", "observedGeneration")
	conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	for _, one := range conditions {
		found, _ := one.(map[string]any)
		if found["type"] == name && observed == u.GetGeneration() {
			status, _ = found["status"].(string)
			reason, _ = found["reason"].(string)
			message, _ = found["message"].(string)
		}
	}
	return status, reason, message
}

// report prints what is left to do, and returns an error if objects were not moved.
func (m *Move) report(objects []*object, deployment *unstructured.Unstructured) error {
	left := 0
	for _, o := range objects {
		if o.problem != nil {
			left++
			m.printProblem(o)
		}
	}
	if m.DryRun {
		m.print("nothing was changed")
	}
	m.print("left to do by hand:")
	if deployment != nil {
		m.print("  keep github-token-manager stopped: kubectl -n %s scale deployment/%s --replicas=0", deployment.GetNamespace(), deployment.GetName())
	} else {
		m.print("  stop github-token-manager, if it runs: scale its Deployment to 0")
	}
	m.print("  give gatepass-operator the Secret gtm-config at /config: it reads gtm.yaml as it is")
	m.print("  check that all are Ready: kubectl get tokens.%s,clustertokens.%[1]s -A", "gatepass.dev")
	m.print("  delete the old objects: kubectl delete tokens.%s,apps.%[1]s -A --all && kubectl delete clustertokens.%[1]s --all", oldGroup)
	m.print("to undo: gatepass migrate github-token-manager --undo")
	if left > 0 {
		return usererr.New("migrate", fmt.Sprintf("%d of %d objects are not moved", left, len(objects)), "follow the advice above for each, and run it again")
	}
	return nil
}

// patch changes an object's metadata, if the object is unchanged since it was read.
func (m *Move) patch(ctx context.Context, resource schema.GroupVersionResource, u *unstructured.Unstructured, metadata map[string]any) error {
	metadata["resourceVersion"] = u.GetResourceVersion()
	metadata["uid"] = string(u.GetUID())
	text, err := json.Marshal(map[string]any{"metadata": metadata})
	if err != nil {
		return err
	}
	_, err = m.resource(resource, u.GetNamespace()).Patch(ctx, u.GetName(), types.MergePatchType, text, metav1.PatchOptions{FieldManager: fieldManager})
	return err
}
