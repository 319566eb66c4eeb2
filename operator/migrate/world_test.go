package migrate_test

import (
	_ "embed"
	"encoding/base64"
	"io/fs"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/deploy"
	"github.com/gatepass/gatepass/operator/migrate"
	"github.com/gatepass/gatepass/test/kubernetestest"
)

type fields = kubernetestest.Fields

//go:embed testdata/github-token-manager.yaml
var oldKinds []byte

const (
	oldAPI = "/apis/github.as-code.io/v1"
	newAPI = "/apis/gatepass.dev/v1"
)

// A world is a cluster in which github-token-manager has worked. Tests defer clean: the
// requests of a cleanup would come too late.
type world struct {
	*kubernetestest.Cluster
	t         *testing.T
	namespace string
	move      *migrate.Move
	said      strings.Builder
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOf(t, kubernetestest.New(t))
}

func newWorldOf(t *testing.T, cluster *kubernetestest.Cluster) *world {
	t.Helper()
	w := &world{Cluster: cluster, t: t}
	w.ApplyText(oldKinds)
	crds, err := fs.Glob(deploy.Files, "crds/*.yaml")
	if err != nil || len(crds) == 0 {
		t.Fatal("there are no CustomResourceDefinitions: ", err)
	}
	for _, path := range crds {
		text, err := deploy.Files.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		w.ApplyText(text)
	}
	client, err := migrate.Connect(w.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	w.namespace = w.Namespace()
	w.move = &migrate.Move{Client: client, Out: &w.said, Look: time.Millisecond, Wait: time.Millisecond}
	return w
}

// clean leaves nothing that another test would take for its own.
func (w *world) clean() {
	for _, api := range []string{oldAPI, newAPI} {
		w.Try(http.MethodDelete, api+"/clustertokens", nil)
		for _, resource := range []string{"tokens", "apps"} {
			w.Try(http.MethodDelete, api+"/namespaces/"+w.namespace+"/"+resource, nil)
		}
	}
	w.Try(http.MethodDelete, newAPI+"/tenantpolicies/"+w.namespace, nil)
	w.Try(http.MethodDelete, newAPI+"/tenantpolicies/github-token-manager", nil)
}

// run runs Run, and returns what it said and its error as one text.
func (w *world) run(do func() error) string {
	w.t.Helper()
	w.said.Reset()
	err := do()
	if err == nil {
		return w.said.String()
	}
	if strings.Contains(err.Error(), "\n") {
		w.t.Errorf("an error of two lines: %q", err)
	}
	return w.said.String() + "error: " + err.Error()
}

func (w *world) forth() string {
	return w.run(func() error { return w.move.Run(w.t.Context()) })
}

func (w *world) back() string {
	return w.run(func() error { return w.move.Undo(w.t.Context()) })
}

// token makes a Token of the old operator, and its Secret.
func (w *world) token(name string, spec fields) {
	w.t.Helper()
	made := w.Call(http.MethodPost, oldAPI+"/namespaces/"+w.namespace+"/tokens", fields{
		"apiVersion": "github.as-code.io/v1", "kind": "Token", "spec": spec,
		"metadata": fields{"name": name, "labels": fields{"team": "a", "app.kubernetes.io/instance": "of-argo-cd"}, "annotations": fields{"gatepass.dev/restart-deployments": "x", "about": "y"}},
	})
	w.oldSecret("Token", name, made)
}

// clusterToken makes a ClusterToken of the old operator, and its Secret.
func (w *world) clusterToken(name string, spec fields) {
	w.t.Helper()
	spec["secret"] = fields{"namespace": w.namespace}
	made := w.Call(http.MethodPost, oldAPI+"/clustertokens", fields{
		"apiVersion": "github.as-code.io/v1", "kind": "ClusterToken", "spec": spec, "metadata": fields{"name": name},
	})
	w.oldSecret("ClusterToken", name, made)
}

// oldSecret is a Secret as the old operator makes it.
func (w *world) oldSecret(kind, name string, owner fields) {
	w.t.Helper()
	w.Call(http.MethodPost, w.secrets(), fields{
		"apiVersion": "v1", "kind": "Secret", "type": "github.as-code.io/token", "data": fields{"token": base64.StdEncoding.EncodeToString([]byte("ghs_old"))},
		"metadata": fields{
			"name": name, "labels": fields{
				"app.kubernetes.io/name": kind, "app.kubernetes.io/instance": name,
				"app.kubernetes.io/part-of": "github-token-manager", "app.kubernetes.io/created-by": "github-token-manager",
			},
			"ownerReferences": []any{fields{
				"apiVersion": "github.as-code.io/v1", "kind": kind, "name": name, "uid": uid(owner), "controller": true, "blockOwnerDeletion": true,
			}},
		},
	})
}

func (w *world) secrets() string { return "/api/v1/namespaces/" + w.namespace + "/secrets" }

func (w *world) secret(name string) fields {
	w.t.Helper()
	return w.Call(http.MethodGet, w.secrets()+"/"+name, nil)
}

func (w *world) newToken(name string) fields {
	w.t.Helper()
	return w.Call(http.MethodGet, newAPI+"/namespaces/"+w.namespace+"/tokens/"+name, nil)
}

// has reports whether an object is there.
func (w *world) has(path string) bool {
	w.t.Helper()
	code, _ := w.Try(http.MethodGet, path, nil)
	return code == http.StatusOK
}

// permits applies a policy for what the tests ask.
func (w *world) permits() {
	w.t.Helper()
	w.ApplyObject(fields{
		"apiVersion": "gatepass.dev/v1", "kind": "TenantPolicy", "metadata": fields{"name": w.namespace},
		"spec": fields{
			"namespaces": fields{"names": []any{w.namespace}}, "targetNamespaces": []any{w.namespace},
			"apps": []any{"default", w.namespace + "/bot"}, "owners": []any{"*"}, "repositories": []any{"*"}, "permissions": fields{"contents": "write"},
		},
	})
}

func metadata(u fields) fields { return u["metadata"].(fields) }

func uid(u fields) string { return metadata(u)["uid"].(string) }

// marks returns labels or annotations.
func marks(u fields, of string) fields {
	found, _ := metadata(u)[of].(fields)
	return found
}

// owners returns the uids of an object's owners, and that of its controller.
func owners(u fields) (all []string, controller string) {
	list, _ := metadata(u)["ownerReferences"].([]any)
	for _, one := range list {
		owner := one.(fields)
		all = append(all, owner["uid"].(string))
		if owner["controller"] == true {
			controller = owner["uid"].(string)
		}
	}
	return all, controller
}

var readsCode = fields{"repositories": []any{"api"}, "permissions": fields{"contents": "read"}}
