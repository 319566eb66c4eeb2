package migrate_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gatepass/gatepass/test/kubernetestest"
)

// wantSaid checks for texts in what was said.
func wantSaid(t *testing.T, said string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q:\n%s", want, said)
		}
	}
}

// A Secret keeps its token, changes its owner in one write, and outlives the old object.
func TestRealTakeOver(t *testing.T) {
	w := newWorld(t)
	defer w.clean()
	w.permits()
	w.ApplyObject(fields{
		"apiVersion": "github.as-code.io/v1", "kind": "App", "metadata": fields{"name": "bot", "namespace": w.namespace},
		"spec": fields{"appID": 1, "installationID": 2, "provider": "secret", "keyRef": fields{"name": "key"}},
	})
	w.token("flux", readsCode)
	w.clusterToken("images-"+w.namespace, fields{"repositoryIDs": []any{7}, "permissions": fields{"contents": "read"}, "appRef": fields{"name": "bot"}})
	history := w.watch("flux")

	w.move.DryRun = true
	wantSaid(t, w.forth(), "Token "+w.namespace+"/flux: would be created in gatepass.dev/v1", "nothing was changed")
	if w.has(newAPI + "/namespaces/" + w.namespace + "/tokens/flux") {
		t.Error("a dry run makes objects")
	}
	w.move.DryRun = false
	said := w.forth()
	wantSaid(t, said, "Token "+w.namespace+"/flux: Secret "+w.namespace+"/flux is taken over", "App "+w.namespace+"/bot: created in", "left to do by hand:", "--undo",
		"gatepass-operator has not processed 2 of the new objects")
	if strings.Contains(said, "error: ") || strings.Contains(said, "ghs_") {
		t.Errorf("it says\n%s", said)
	}

	secret, made := w.secret("flux"), w.newToken("flux")
	all, controller := owners(secret)
	if controller != uid(made) || len(all) != 1 {
		t.Errorf("the Secret belongs to %q, want only %s", all, uid(made))
	}
	if got := secret["data"].(fields)["token"]; got != "Z2hzX29sZA==" {
		t.Errorf("the token is %v now", got)
	}
	if got := marks(secret, "annotations")["gatepass.dev/adopt"]; got != w.namespace+"/flux" {
		t.Errorf("adopt is %v", got)
	}
	if got := marks(secret, "labels")["gatepass.dev/owner-kind"]; got != "Token" {
		t.Errorf("owner-kind is %v: the operator would not see the Secret", got)
	}
	// Argo CD deletes what has its label and is in no manifest.
	if labels := marks(made, "labels"); labels["team"] != "a" || labels["app.kubernetes.io/instance"] != nil {
		t.Errorf("the new object has the labels %v", labels)
	}
	if notes := marks(made, "annotations"); len(notes) != 2 || notes["about"] != "y" || notes["gatepass.dev/migrated-from"] == nil {
		t.Errorf("the new object has the annotations %v", notes)
	}
	cluster := w.Call(http.MethodGet, newAPI+"/clustertokens/images-"+w.namespace, nil)
	if app := cluster["spec"].(fields)["appRef"].(fields); app["namespace"] != w.namespace {
		t.Errorf("the ClusterToken names the App %v, want the one that the old operator found", app)
	}
	if _, controller := owners(w.secret("images-" + w.namespace)); controller != uid(cluster) {
		t.Error("the ClusterToken's Secret is not taken over")
	}

	version := metadata(secret)["resourceVersion"]
	wantSaid(t, w.forth(), "flux: exists in gatepass.dev/v1 already", "Secret "+w.namespace+"/flux is taken over already")
	if again := w.secret("flux"); metadata(again)["resourceVersion"] != version {
		t.Error("running it again writes the Secret")
	}
	for _, seen := range history() {
		if all, _ := owners(seen); len(all) != 1 && marks(seen, "labels")["app.kubernetes.io/instance"] != nil {
			t.Errorf("at resourceVersion %v the Secret has a tracking label and %d owners", metadata(seen)["resourceVersion"], len(all))
		}
	}
}

// watch collects every version of a Secret until the function that it returns is called.
func (w *world) watch(name string) func() []fields {
	w.t.Helper()
	ctx, stop := context.WithCancel(w.t.Context())
	api := w.move.Client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "secrets"}).Namespace(w.namespace)
	events, err := api.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	if err != nil {
		w.t.Fatal(err)
	}
	var seen []fields
	return func() []fields {
		defer stop()
		last := metadata(w.secret(name))["resourceVersion"]
		deadline := time.After(10 * time.Second)
		for {
			select {
			case event := <-events.ResultChan():
				object := event.Object.(interface{ UnstructuredContent() map[string]any }).UnstructuredContent()
				if seen = append(seen, object); metadata(object)["resourceVersion"] == last {
					if len(seen) < 2 {
						w.t.Error("the watch saw no change")
					}
					return seen
				}
			case <-deadline:
				w.t.Fatal("the watch does not end")
			}
		}
	}
}

// An object that no policy permits keeps its old owner: the operator would delete the
// Secret.
func TestRealWhatIsDeniedIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	defer w.clean()
	w.token("flux", readsCode)
	w.token("bare", fields{})
	w.token("typo", fields{"repositorys": []any{"a"}})
	before := w.secret("flux")
	said := w.forth()
	wantSaid(t, said,
		"Token "+w.namespace+"/flux: this Token for namespace "+w.namespace+" is not allowed: no TenantPolicy selects namespace",
		"Token "+w.namespace+"/bare: it named no permissions, which meant all of the App; allPermissions: true says the same, but no TenantPolicy allows it: list the permissions that the token needs",
		"Token "+w.namespace+"/bare: ",
		"Token "+w.namespace+"/typo: github-token-manager has no field spec.repositorys",
		"error: migrate: 3 of 3 objects are not moved",
	)
	if w.has(newAPI+"/namespaces/"+w.namespace+"/tokens/flux") || metadata(w.secret("flux"))["resourceVersion"] != metadata(before)["resourceVersion"] {
		t.Error("it was not left alone")
	}

	// The policy that it prints is one that works.
	from := strings.Index(said, "apiVersion: ")
	policy, _, _ := strings.Cut(said[from:], "Token ")
	w.ApplyText([]byte(policy))
	wantSaid(t, w.forth(), "flux: Secret "+w.namespace+"/flux is taken over", "error: migrate: 2 of 3 objects are not moved", "no policy allows allPermissions")
	if _, controller := owners(w.secret("bare")); controller == "" || w.has(newAPI+"/namespaces/"+w.namespace+"/tokens/bare") {
		t.Error("a token that may do everything was taken over")
	}

	// A person writes what the token is for, and runs it again.
	w.ApplyObject(fields{
		"apiVersion": "gatepass.dev/v1", "kind": "Token", "metadata": fields{"name": "bare", "namespace": w.namespace},
		"spec": fields{"allRepositories": true, "permissions": fields{"contents": "read"}},
	})
	wantSaid(t, w.forth(), "bare: Secret "+w.namespace+"/bare is taken over", "error: migrate: 1 of 3 objects are not moved")
}

// What the operator itself says counts too: it knows whose the installation is.
func TestRealTheOperatorsVerdict(t *testing.T) {
	w := newWorld(t)
	defer w.clean()
	w.permits()
	w.token("flux", readsCode)
	made := w.ApplyObject(fields{
		"apiVersion": "gatepass.dev/v1", "kind": "Token", "metadata": fields{"name": "flux", "namespace": w.namespace},
		"spec": readsCode,
	})
	w.Call(http.MethodPatch, newAPI+"/namespaces/"+w.namespace+"/tokens/flux/status", fields{"status": fields{
		"observedGeneration": metadata(made)["generation"],
		"conditions": []any{fields{
			"type": "Permitted", "status": "False", "reason": "NotPermitted", "message": "owners does not have acme", "lastTransitionTime": "2026-01-01T00:00:00Z",
		}},
	}})
	wantSaid(t, w.forth(), "flux: owners does not have acme", "error: migrate: 1 of 1")
	if _, controller := owners(w.secret("flux")); controller == uid(w.newToken("flux")) {
		t.Error("the Secret was taken over")
	}
}

// A new operator that cannot make tokens is said while the old token is still good.
func TestRealTheOperatorCannotMakeTokens(t *testing.T) {
	w := newWorld(t)
	defer w.clean()
	w.permits()
	w.token("flux", readsCode)
	made := w.ApplyObject(fields{
		"apiVersion": "gatepass.dev/v1", "kind": "Token", "metadata": fields{"name": "flux", "namespace": w.namespace},
		"spec": readsCode,
	})
	condition := func(name, status, reason string) fields {
		return fields{"type": name, "status": status, "reason": reason, "message": "the App has no key", "lastTransitionTime": "2026-01-01T00:00:00Z"}
	}
	w.Call(http.MethodPatch, newAPI+"/namespaces/"+w.namespace+"/tokens/flux/status", fields{"status": fields{
		"observedGeneration": metadata(made)["generation"],
		"conditions":         []any{condition("Permitted", "True", "Permitted"), condition("Ready", "False", "AppNotReady")},
	}})
	wantSaid(t, w.forth(), "flux is taken over", "flux: it is taken over but not Ready: the App has no key; correct that within half an hour", "error: migrate: 1 of 1 objects are not moved")
}

// The operator leaves another owner's Secret alone.
func TestRealForeignSecret(t *testing.T) {
	w := newWorld(t)
	defer w.clean()
	w.permits()
	w.token("flux", readsCode)
	w.Call(http.MethodPatch, w.secrets()+"/flux", fields{"metadata": fields{"ownerReferences": nil}})
	wantSaid(t, w.forth(), "flux: take over Secret "+w.namespace+"/flux: it does not belong to the old object; delete it")
	if all, _ := owners(w.secret("flux")); all != nil {
		t.Error("the Secret was taken over")
	}
}

// Two operators at work on one object would fight: the old one makes a Secret again
// that the new one replaces.
func TestRealTheOldOperatorHasToStop(t *testing.T) {
	w := newWorld(t)
	defer w.clean()
	w.permits()
	w.token("flux", readsCode)
	path := "/apis/apps/v1/namespaces/" + w.namespace + "/deployments"
	container := fields{"name": "manager", "image": "x"}
	labels := fields{"app.kubernetes.io/name": "github-token-manager"}
	w.Call(http.MethodPost, path, fields{
		"metadata": fields{"name": "gtm", "labels": labels},
		"spec":     fields{"selector": fields{"matchLabels": labels}, "template": fields{"metadata": fields{"labels": labels}, "spec": fields{"containers": []any{container}}}},
	})
	defer w.Try(http.MethodDelete, path+"/gtm", nil)
	w.Call(http.MethodPatch, path+"/gtm/status", fields{"status": fields{"replicas": 1, "readyReplicas": 1}})
	wantSaid(t, w.forth(), "error: take over the Secrets: github-token-manager is running; stop it first", "kubectl -n "+w.namespace+" scale deployment/gtm --replicas=0")
	if w.has(newAPI + "/namespaces/" + w.namespace + "/tokens/flux") {
		t.Error("an object was made")
	}
	w.Call(http.MethodPatch, path+"/gtm/status", fields{"status": fields{"replicas": 0, "readyReplicas": 0}})
	wantSaid(t, w.forth(), "flux is taken over", "keep github-token-manager stopped")
}

// The way back: the old operator has its Secret, and the token in it is never one that
// was revoked.
func TestRealUndo(t *testing.T) {
	w := newWorld(t)
	defer w.clean()
	w.permits()
	w.token("flux", readsCode)
	w.token("idle", readsCode)
	original := w.secret("flux")
	wantSaid(t, w.forth(), "flux is taken over")
	w.delivers("flux")
	w.Call(http.MethodDelete, oldAPI+"/namespaces/"+w.namespace+"/tokens/flux", nil)
	w.says("flux", "True")
	history := w.watch("flux")

	said := w.back()
	wantSaid(t, said, "flux: created again in github.as-code.io/v1", "Secret "+w.namespace+"/flux is given back",
		"start github-token-manager now", "idle: the object of gatepass.dev/v1 is deleted", "error: undo: github-token-manager has not written 1 of 2 Secrets yet; start it")
	secret := w.secret("flux")
	old := w.Call(http.MethodGet, oldAPI+"/namespaces/"+w.namespace+"/tokens/flux", nil)
	if all, controller := owners(secret); controller != uid(old) || len(all) != 1 {
		t.Errorf("the Secret belongs to %q, want %s", all, uid(old))
	}
	for name, want := range marks(original, "labels") {
		if got := marks(secret, "labels")[name]; got != want {
			t.Errorf("label %s is %v, want %v", name, got, want)
		}
	}
	for name := range marks(secret, "labels") {
		if strings.HasPrefix(name, "gatepass.dev/") || name == "app.kubernetes.io/managed-by" {
			t.Errorf("label %s is left: the new operator would take the Secret for its own", name)
		}
	}
	if got := marks(secret, "annotations"); len(got) != 1 || got["gatepass.dev/given-back"] == nil {
		t.Errorf("the annotations are %v", got)
	}
	if !w.has(newAPI + "/namespaces/" + w.namespace + "/tokens/flux") {
		t.Error("the new object is deleted: its token, which is in the Secret, is revoked now")
	}

	// The old operator starts, and mints.
	w.Call(http.MethodPatch, w.secrets()+"/flux", fields{"data": fields{"token": "Z2hzX25ld2VzdA=="}})
	wantSaid(t, w.back(), "flux: the object of gatepass.dev/v1 is deleted", "github-token-manager has all its Secrets again")
	if w.has(newAPI + "/namespaces/" + w.namespace + "/tokens/flux") {
		t.Error("the new object is left")
	}
	if got := marks(w.secret("flux"), "annotations"); len(got) != 0 {
		t.Errorf("the annotations are %v, want none", got)
	}
	wantSaid(t, w.back(), "error: undo: no object of gatepass.dev/v1 was created by migrate")
	for _, seen := range history() {
		if all, _ := owners(seen); len(all) != 1 {
			t.Errorf("at resourceVersion %v the Secret has %d owners", metadata(seen)["resourceVersion"], len(all))
		}
	}
}

// A user who may write a Token may write its annotations. Undo creates no object from
// them that the Token itself does not ask for or that is not permitted.
func TestRealUndoTrustsNoAnnotation(t *testing.T) {
	w := newWorld(t)
	defer w.clean()
	w.permits()
	for name, row := range map[string]struct{ spec, says, want string }{
		"wide":    {`{}`, "True", "spec.permissions of the new object has changed since then"},
		"more":    {`{"repositories":["api","other"],"permissions":{"contents":"read"}}`, "True", "spec.repositories of the new object has changed since then"},
		"app":     {`{"repositories":["api"],"permissions":{"contents":"read"},"appRef":{"name":"x"}}`, "True", "spec.appRef of the new object has changed since then"},
		"denied":  {`{"repositories":["api"],"permissions":{"contents":"read"}}`, "False", "the operator does not report that the new object is permitted"},
		"unknown": {`{"repositories":["api"],"permissions":{"contents":"read"}}`, "", "the operator does not report that the new object is permitted"},
		"typo":    {`{"repository":["api"]}`, "True", "github-token-manager has no field spec.repository"},
	} {
		from := `{"apiVersion":"github.as-code.io/v1","kind":"Token","metadata":{"name":"` + name + `","namespace":"` + w.namespace + `"},"spec":` + row.spec + `}`
		w.ApplyObject(fields{
			"apiVersion": "gatepass.dev/v1", "kind": "Token", "spec": readsCode,
			"metadata": fields{"name": name, "namespace": w.namespace, "annotations": fields{"gatepass.dev/migrated-from": from}},
		})
		w.says(name, row.says)
		wantSaid(t, w.back(), "Token "+w.namespace+"/"+name+": ", row.want)
		if w.has(oldAPI + "/namespaces/" + w.namespace + "/tokens/" + name) {
			t.Errorf("%s: an old object was made", name)
		}
	}
	elsewhere := `{"apiVersion":"github.as-code.io/v1","kind":"Token","metadata":{"name":"wide","namespace":"default"},"spec":{}}`
	w.Call(http.MethodPatch, newAPI+"/namespaces/"+w.namespace+"/tokens/wide", fields{"metadata": fields{"annotations": fields{"gatepass.dev/migrated-from": elsewhere}}})
	wantSaid(t, w.back(), "read gatepass.dev/migrated-from: migrate did not write it")
	if w.has(oldAPI + "/namespaces/default/tokens/wide") {
		t.Error("an old object was made in another namespace")
	}
}

// says writes the condition Permitted, as the operator does; "" writes none.
func (w *world) says(name, status string) {
	w.t.Helper()
	if status == "" {
		return
	}
	made := w.newToken(name)
	w.Call(http.MethodPatch, newAPI+"/namespaces/"+w.namespace+"/tokens/"+name+"/status", fields{"status": fields{
		"observedGeneration": metadata(made)["generation"],
		"conditions":         []any{fields{"type": "Permitted", "status": status, "reason": "x", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}},
	}})
}

// delivers does to a Secret what gatepass-operator does.
func (w *world) delivers(name string) {
	w.t.Helper()
	w.Call(http.MethodPatch, w.secrets()+"/"+name, fields{
		"data": fields{"token": "Z2hzX25ldw=="},
		"metadata": fields{
			"labels":      fields{"app.kubernetes.io/managed-by": "gatepass-operator", "app.kubernetes.io/part-of": "gatepass"},
			"annotations": fields{"gatepass.dev/adopt": nil, "gatepass.dev/expires-at": "2026-11-30T09:00:00Z", "gatepass.dev/token-sha256": "x", "gatepass.dev/managed": "data/token"},
		},
	})
}

// Errors name what is missing.
func TestRealNothingToDo(t *testing.T) {
	w := newWorld(t)
	defer w.clean()
	wantSaid(t, w.forth(), "error: read the objects of github-token-manager: the cluster has no such objects; check that the kubeconfig is for the right cluster")
	wantSaid(t, w.back(), "error: undo: no object")
}

// With the garbage collector at work: the old object takes no Secret along that was
// taken over, nor the new one a Secret that was given back.
func TestRealTheSecretOutlivesItsOldOwner(t *testing.T) {
	w := newWorldOf(t, kubernetestest.Start(t, kubernetestest.Options{Controllers: true}))
	w.permits()
	for _, name := range []string{"flux", "collected"} {
		w.token(name, readsCode)
	}
	olds := oldAPI + "/namespaces/" + w.namespace + "/tokens"
	wantSaid(t, w.forth(), "flux is taken over", "collected is taken over")
	w.Call(http.MethodPatch, w.secrets()+"/collected", fields{"metadata": fields{"ownerReferences": []any{fields{
		"apiVersion": "github.as-code.io/v1", "kind": "Token", "name": "collected", "uid": uid(w.Call(http.MethodGet, olds+"/collected", nil)),
	}}}})
	w.Call(http.MethodDelete, olds+"/flux", nil)
	w.Call(http.MethodDelete, olds+"/collected", nil)
	w.collected("collected")
	if !w.has(w.secrets() + "/flux") {
		t.Fatal("the Secret went with its old owner")
	}

	w.says("flux", "True")
	w.Call(http.MethodDelete, newAPI+"/namespaces/"+w.namespace+"/tokens/collected", nil)
	wantSaid(t, w.back(), "flux: Secret "+w.namespace+"/flux is given back", "flux: the object of gatepass.dev/v1 is deleted")
	w.token("witness", readsCode)
	w.Call(http.MethodDelete, olds+"/witness", nil)
	w.collected("witness")
	if !w.has(w.secrets() + "/flux") {
		t.Error("the Secret went with the new object")
	}
}

// collected waits until the garbage collector has deleted a Secret.
func (w *world) collected(name string) {
	w.t.Helper()
	kubernetestest.Wait(w.t, time.Minute, name+" to be collected", func() (bool, any) { return !w.has(w.secrets() + "/" + name), "it is there" })
}
