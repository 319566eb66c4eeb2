package kubernetestest

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/gatepass/gatepass/test/kubernetestest/controlplane"
)

const widgets = `# The API server serves the kind before the object is applied.
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, listKind: WidgetList}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
---
apiVersion: example.com/v1
kind: Widget
metadata: {name: one}
spec: {size: 1}
---
apiVersion: v1
kind: Namespace
metadata: {name: team}
`

const widget = "/apis/example.com/v1/namespaces/default/widgets/one"

// The parts share a cluster, since each takes five seconds.
func TestPrivateCluster(t *testing.T) {
	c := Start(t, Options{Audit: true, Flags: []string{OwnerReferencesEnforced}})
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "widgets.yaml"), []byte(widgets), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Apply(dir)
	if got := c.Call(http.MethodGet, widget, nil)["spec"].(Fields)["size"]; got != 1.0 {
		t.Errorf("the widget's size is %v, want 1", got)
	}
	t.Run("a restart keeps the data", func(t *testing.T) { restart(t, c) })
	t.Run("requests of one user are told from others", func(t *testing.T) { requestsOf(t, c) })
	t.Run("a watch is one request, refused or open", func(t *testing.T) { watches(t, c) })
	t.Run("an owner reference that blocks deletion is checked", func(t *testing.T) { ownerReferences(t, c) })
}

func restart(t *testing.T, c *Cluster) {
	c.ApplyText([]byte(`{"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "one"}, "spec": {"size": 2}}`))
	c.Kill()
	if response, err := c.client.Get(c.Host + "/readyz"); err == nil {
		response.Body.Close()
		t.Errorf("after Kill the API server answers %s", response.Status)
	}
	c.Resume()
	if got := c.Call(http.MethodGet, widget, nil)["spec"].(Fields)["size"]; got != 2.0 {
		t.Errorf("after a restart the widget's size is %v, want 2 as it was applied last", got)
	}
}

func requestsOf(t *testing.T, c *Cluster) {
	robot, err := rest.HTTPClientFor(c.As("team", "robot"))
	if err != nil {
		t.Fatal(err)
	}
	const secrets = "/api/v1/secrets?labelSelector=a%3Db"
	response, err := robot.Get(c.Host + secrets)
	if err != nil || response.StatusCode != http.StatusForbidden {
		t.Fatalf("GET as robot = %v, %v, want 403", response, err)
	}
	response.Body.Close()
	c.Call(http.MethodGet, secrets, nil)
	requests := c.Requests(User("team", "robot"))
	if len(requests) != 1 {
		t.Fatalf("Requests = %v, want the one of robot", requests)
	}
	r := requests[0]
	if r.Verb != "list" || r.Resource != "secrets" || r.Query.Get("labelSelector") != "a=b" || r.Code != http.StatusForbidden || r.At.IsZero() {
		t.Errorf("Requests = %+v, want a refused list of secrets by label", r)
	}
}

func watches(t *testing.T, c *Cluster) {
	const path = "/api/v1/namespaces/team/secrets?watch=1&labelSelector=x"
	robot := open(t, c.KubeconfigAs("team", "watcher"), "")
	if code, _ := robot.Try(http.MethodGet, path, nil); code != http.StatusForbidden {
		t.Errorf("watch as watcher = %d, want 403", code)
	}
	response, err := c.client.Get(c.Host + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	for user, want := range map[string]int{User("team", "watcher"): http.StatusForbidden, controlplane.Admin: http.StatusOK} {
		var codes []int
		for _, r := range c.Requests(user) {
			if r.Verb == "watch" && r.Resource == "secrets" && r.Namespace == "team" {
				codes = append(codes, r.Code)
			}
		}
		if !slices.Equal(codes, []int{want}) {
			t.Errorf("watches of %s ended with %v, want one with %d", user, codes, want)
		}
	}
}

func ownerReferences(t *testing.T, c *Cluster) {
	uid := c.Call(http.MethodGet, widget, nil)["metadata"].(Fields)["uid"]
	c.ApplyText([]byte(`{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "writer"},
		"rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}]}`))
	c.Grant("writer", Fields{"kind": "ServiceAccount", "name": "robot", "namespace": "team"})
	robot := open(t, c.KubeconfigAs("team", "robot"), "")
	for blocks, want := range map[bool]int{true: http.StatusForbidden, false: http.StatusCreated} {
		owner := Fields{"apiVersion": "example.com/v1", "kind": "Widget", "name": "one", "uid": uid, "blockOwnerDeletion": blocks}
		code, answer := robot.Try(http.MethodPost, "/api/v1/namespaces/default/configmaps", Fields{
			"metadata": Fields{"name": "owned-" + strconv.FormatBool(blocks), "ownerReferences": []Fields{owner}},
		})
		if code != want {
			t.Errorf("blockOwnerDeletion %v: %d %v, want %d", blocks, code, answer["message"], want)
		}
	}
}
