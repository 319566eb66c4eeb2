package kubernetesstore

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gatepass/gatepass/store"
)

// A cluster is a real API server, as somebody sees it who may do everything.
type cluster struct {
	t      *testing.T
	host   string
	config *rest.Config
	client *http.Client
}

func realCluster(t *testing.T) *cluster {
	t.Helper()
	path := os.Getenv("GATEPASS_TEST_KUBECONFIG")
	if path == "" {
		t.Skip("missing: Kubernetes API server (make test-real sets GATEPASS_TEST_KUBECONFIG)")
	}
	isolate(t)
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", path)
	return &cluster{t, config.Host, config, client}
}

// isolate keeps the configuration of whoever runs the tests out of them.
func isolate(t *testing.T) {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	for _, name := range []string{"KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"} {
		t.Setenv(name, "")
	}
}

// try makes one request and returns what came of it.
func (c *cluster) try(method, path string, body any) (code int, answer map[string]any) {
	c.t.Helper()
	text, err := json.Marshal(body)
	if body == nil {
		text = nil
	}
	if raw, ok := body.([]byte); ok {
		text = raw
	}
	request, err2 := http.NewRequestWithContext(c.t.Context(), method, c.host+path, bytes.NewReader(text))
	if err != nil || err2 != nil {
		c.t.Fatal(err, err2)
	}
	request.Header.Set("Content-Type", "application/json")
	if method == http.MethodPatch {
		request.Header.Set("Content-Type", "application/merge-patch+json")
	}
	response, err := c.client.Do(request)
	if err != nil {
		c.t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err == nil {
		err = json.Unmarshal(data, &answer)
	}
	if err != nil {
		c.t.Fatalf("%s %s = %s, %v", method, path, response.Status, err)
	}
	return response.StatusCode, answer
}

// call is a request that has to succeed.
func (c *cluster) call(method, path string, body any) map[string]any {
	c.t.Helper()
	code, answer := c.try(method, path, body)
	if code/100 != 2 {
		c.t.Fatalf("%s %s = %d %v", method, path, code, answer["message"])
	}
	return answer
}

type fields = map[string]any

func named(name string) fields { return fields{"metadata": fields{"name": name}} }

// namespace makes a new one.
func (c *cluster) namespace() string {
	c.t.Helper()
	name := "t" + strconv.FormatInt(time.Now().UnixNano(), 36)
	c.call(http.MethodPost, "/api/v1/namespaces", named(name))
	return name
}

// account makes a service account and returns a token of it.
func (c *cluster) account(namespace, name string) string {
	c.t.Helper()
	at := "/api/v1/namespaces/" + namespace + "/serviceaccounts"
	if code, answer := c.try(http.MethodPost, at, named(name)); code != http.StatusCreated && code != http.StatusConflict {
		c.t.Fatalf("make the service account %s: %d %v", name, code, answer["message"])
	}
	answer := c.call(http.MethodPost, at+"/"+name+"/token", fields{"spec": fields{}})
	return answer["status"].(fields)["token"].(string)
}

// kubeconfig writes one for the holder of a token, or with another user.
func (c *cluster) kubeconfig(user fields) string {
	c.t.Helper()
	text, err := json.Marshal(fields{
		"apiVersion": "v1", "kind": "Config", "current-context": "it",
		"contexts": []fields{{"name": "it", "context": fields{"cluster": "it", "user": "it"}}},
		"clusters": []fields{{"name": "it", "cluster": fields{"server": c.host, "certificate-authority-data": c.config.CAData}}},
		"users":    []fields{{"name": "it", "user": user}},
	})
	path := filepath.Join(c.t.TempDir(), "kubeconfig")
	if err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return path
}

func openStore(t *testing.T, raw string) *Store {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	s, err := OpenStore(u)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// checkError wants one line with all of the parts.
func checkError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one with %q", parts)
		return
	}
	for _, part := range append(parts, "") {
		if text := err.Error(); !strings.Contains(text, part) || strings.ContainsAny(text, "\n\r") {
			t.Errorf("error = %q, want %q in one line", text, part)
		}
	}
}

func put(t *testing.T, s store.Store, name store.Name, value string) {
	t.Helper()
	if err := s.Put(t.Context(), name, store.NewSecret(value), store.Replace); err != nil {
		t.Fatalf("Put(%s) = %v", name, err)
	}
}

func list(t *testing.T, s store.Store, below store.Prefix) (names []string) {
	t.Helper()
	for n, err := range s.List(t.Context(), below) {
		if err != nil {
			t.Fatalf("List(%s) = %v", below, err)
		}
		names = append(names, n.String())
	}
	return names
}

// each runs f n times at once.
func each(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

func sprint(i int) string { return fmt.Sprint("value ", i) }
