package migrate

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gatepass/gatepass/internal/usererr"
	v1 "github.com/gatepass/gatepass/operator/api/v1"
)

// annotationUndo is on a Secret that was given back. It is the SHA-256, in base64, of
// the Secret's data at that time, whose token ends with the new object.
const annotationUndo = v1.Group + "/given-back"

// Undo gives every Secret back to the object of github-token-manager that it came from,
// and creates that object again if it was deleted. It deletes a new object only after
// the old operator has written its own token: gatepass-operator revokes the tokens of a
// deleted object, and would otherwise revoke the token in use.
func (m *Move) Undo(ctx context.Context) error {
	objects, err := m.movedObjects(ctx)
	if err != nil {
		return err
	}
	for _, o := range objects {
		m.restore(ctx, o)
		if o.problem == nil && o.kind != kindApp && !m.DryRun {
			m.giveBackSecret(ctx, o)
		}
	}
	if m.DryRun {
		m.print("nothing was changed")
		return nil
	}
	waiting, err := m.finishUndo(ctx, objects)
	if err != nil {
		return err
	}
	return undoError(m, objects, waiting)
}

func undoError(m *Move, objects []*object, waiting int) error {
	left := 0
	for _, o := range objects {
		if o.problem != nil {
			left++
			m.printProblem(o)
		}
	}
	switch {
	case left > 0:
		return usererr.New("undo", fmt.Sprintf("%d of %d objects are not given back", left, len(objects)), "follow the advice above for each, and run it again")
	case waiting > 0:
		return usererr.New("undo", fmt.Sprintf("github-token-manager has not written %d of %d Secrets yet", waiting, len(objects)), "start it, or restart it, and run this again")
	}
	m.print("github-token-manager has all its Secrets again")
	return nil
}

// movedObjects returns the new objects that Run made or took over, each with its old object.
// Apps come last, because Tokens need them until they are deleted.
func (m *Move) movedObjects(ctx context.Context) ([]*object, error) {
	var objects []*object
	for _, k := range []kind{kindToken, kindClusterToken, kindApp} {
		news, _, err := m.list(ctx, k.new(), "")
		if err != nil {
			return nil, err
		}
		for i := range news {
			from := news[i].GetAnnotations()[AnnotationFrom]
			if from == "" {
				continue
			}
			o := &object{kind: k, new: &news[i], old: &unstructured.Unstructured{}}
			if err := json.Unmarshal([]byte(from), &o.old.Object); err != nil || key(o.old) != key(o.new) {
				o.old = o.new
				o.problem = usererr.New("read "+AnnotationFrom, "migrate did not write it", "create the old object by hand")
			}
			objects = append(objects, o)
		}
	}
	if len(objects) == 0 {
		return nil, usererr.New("undo", "no object of "+newVersion+" was created by migrate", "")
	}
	return objects, nil
}

// restore creates the old object again if it was deleted.
func (m *Move) restore(ctx context.Context, o *object) {
	if o.problem != nil {
		return
	}
	api := m.resource(o.kind.old(), o.old.GetNamespace())
	live, err := api.Get(ctx, o.old.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		if o.problem = mayRestore(o); o.problem != nil {
			return
		}
		live, err = api.Create(ctx, o.old, metav1.CreateOptions{FieldManager: fieldManager, DryRun: m.dryRun()})
		if err == nil {
			m.print("%s: %s", o, m.done("created again in "+oldVersion, "would be created again in "+oldVersion))
		}
	}
	if err != nil {
		o.problem = usererr.Wrap("create the old object again", err, "install github-token-manager again, with its CustomResourceDefinitions")
		return
	}
	o.old = live
}

// giveBackSecret makes the old object the controller of the Secret, in one write.
func (m *Move) giveBackSecret(ctx context.Context, o *object) {
	namespace, name := target(o.old)
	what := "Secret " + namespace + "/" + name
	for range tries {
		live, err := m.resource(secrets, namespace).Get(ctx, name, metav1.GetOptions{})
		controller := controllerOf(live, err)
		switch {
		case apierrors.IsNotFound(err):
			return // github-token-manager will create it
		case err != nil:
			o.problem = usererr.Wrap("read "+what, err, "")
			return
		case controller == string(o.old.GetUID()):
			return
		case controller != string(o.new.GetUID()):
			o.problem = usererr.New("give back "+what, "it belongs to another object", "")
			return
		}
		err = m.patch(ctx, secrets, live, m.oldMetadata(o, live))
		if apierrors.IsConflict(err) {
			continue
		}
		if err != nil {
			o.problem = usererr.Wrap("give back "+what, err, "")
			return
		}
		m.print("%s: %s is given back", o, what)
		return
	}
	o.problem = usererr.New("give back "+what, "other writers keep changing it", "stop gatepass-operator, and run this again")
}

func controllerOf(u *unstructured.Unstructured, err error) string {
	if err != nil {
		return ""
	}
	if controller := metav1.GetControllerOf(u); controller != nil {
		return string(controller.UID)
	}
	return ""
}

// oldMetadata returns the metadata of a Secret as github-token-manager writes it. The
// operator's own labels and annotations are removed, so that it no longer takes the
// Secret for its own.
func (m *Move) oldMetadata(o *object, live *unstructured.Unstructured) map[string]any {
	owner := reference(o.kind, oldVersion, o.old)
	owner["blockOwnerDeletion"] = true
	labels, annotations := ownedMarks(live.GetLabels()), ownedMarks(live.GetAnnotations())
	labels["app.kubernetes.io/managed-by"] = nil
	labels["app.kubernetes.io/name"], labels["app.kubernetes.io/instance"] = o.kind.name, o.old.GetName()
	for _, name := range []string{"app.kubernetes.io/part-of", "app.kubernetes.io/created-by"} {
		labels[name] = "github-token-manager"
	}
	own, _, _ := unstructured.NestedStringMap(o.old.Object, "spec", "secret", "labels")
	for name, value := range own {
		labels[name] = value
	}
	if live.GetAnnotations()[v1.AnnotationExpires] != "" {
		annotations[annotationUndo] = digest(live)
	}
	return map[string]any{"ownerReferences": replaceOwner(live, o.new.GetUID(), owner), "labels": labels, "annotations": annotations}
}

// digest returns the SHA-256 of a Secret's data.
func digest(secret *unstructured.Unstructured) string {
	text, err := json.Marshal(secret.Object["data"]) // Marshal sorts the keys
	if err != nil {
		panic("migrate: data that came as JSON has none: " + err.Error())
	}
	sum := sha256.Sum256(text)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// finishUndo deletes each new object once the old operator has written its token to the
// Secret, and returns how many Secrets have none when time is up.
func (m *Move) finishUndo(ctx context.Context, objects []*object) (waiting int, err error) {
	wait := m.Wait
	if wait == 0 {
		wait = 5 * time.Minute
	}
	deadline := time.Now().Add(wait)
	for isSaid := false; ; isSaid = true {
		if waiting = m.deleteUnneeded(ctx, objects); waiting == 0 {
			return 0, nil
		}
		if !isSaid {
			m.print("start github-token-manager now, or restart it: %d Secrets wait for its tokens", waiting)
		}
		if time.Now().After(deadline) {
			return waiting, nil
		}
		if err := pause(ctx, min(wait, time.Second)); err != nil {
			return waiting, err
		}
	}
}

// deleteUnneeded deletes the new objects that are no longer needed. An App is needed while a
// Token exists.
func (m *Move) deleteUnneeded(ctx context.Context, objects []*object) (waiting int) {
	for _, o := range objects {
		switch {
		case o.problem != nil || o.new == nil:
			continue
		case o.kind == kindApp && waiting > 0:
			continue
		case o.kind != kindApp && !m.isFresh(ctx, o):
			if o.problem == nil {
				waiting++
			}
			continue
		}
		uid := o.new.GetUID()
		err := m.resource(o.kind.new(), o.new.GetNamespace()).Delete(ctx, o.new.GetName(), metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
		if err != nil && !apierrors.IsNotFound(err) {
			o.problem = usererr.Wrap("delete the new object", err, "")
			continue
		}
		m.print("%s: the object of %s is deleted", o, newVersion)
		o.new = nil
	}
	return waiting
}

// isFresh reports whether the Secret's token is another than the one that ends with the
// new object.
func (m *Move) isFresh(ctx context.Context, o *object) bool {
	namespace, name := target(o.old)
	live, err := m.resource(secrets, namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return true
	}
	if err != nil {
		o.problem = usererr.Wrap("read Secret "+namespace+"/"+name, err, "")
		return false
	}
	before := live.GetAnnotations()[annotationUndo]
	if before == "" {
		return true
	}
	if before == digest(live) {
		return false
	}
	if err := m.patch(ctx, secrets, live, map[string]any{"annotations": map[string]any{annotationUndo: nil}}); err != nil && !apierrors.IsConflict(err) {
		o.problem = usererr.Wrap("clean up Secret "+namespace+"/"+name, err, "")
		return false
	}
	return true
}
