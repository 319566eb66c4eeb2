package v1_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gatepass/gatepass/test/kubernetestest"
)

// What "kubectl get tokens" shows. The end is a text because it lies ahead: a date
// column shows how long ago something was.
func TestTable(t *testing.T) {
	c := kubernetestest.New(t)
	c.Apply(crds)
	path := "/apis/gatepass.dev/v1/namespaces/" + c.Namespace() + "/tokens"
	c.Call(http.MethodPost, path, object("Token", ok))
	c.Call(http.MethodPatch, path+"/one/status", fields{"status": fields{
		"repositories":            []string{"acme/api", "acme/web"},
		"installationAccessToken": fields{"updatedAt": "2026-01-01T00:00:00Z", "expiresAt": "2099-01-01T01:00:00Z"},
		"conditions":              []fields{{"type": "Ready", "status": "True", "reason": "Refreshed", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}},
	}})
	cells := table(t, c, path)
	const want = `[one True Refreshed 2099-01-01T01:00:00Z ["acme/api","acme/web"]]`
	if got := fmt.Sprint(cells[:len(cells)-1]); got != want { // the last one is the age
		t.Errorf("the cells are %s, want %s", got, want)
	}
}

// table returns the cells of the one object at path, as kubectl asks for them.
func table(t *testing.T, c *kubernetestest.Cluster, path string) []any {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.Host+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var table struct{ Rows []struct{ Cells []any } }
	if err := json.NewDecoder(answer.Body).Decode(&table); err != nil || len(table.Rows) != 1 {
		t.Fatalf("the table has %d rows, %v, want one", len(table.Rows), err)
	}
	return table.Rows[0].Cells
}
