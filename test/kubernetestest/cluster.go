// Package kubernetestest sets up a real Kubernetes API server for tests. It contains no
// double.
package kubernetestest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gatepass/gatepass/test/kubernetestest/controlplane"
)

// Fields are a JSON object.
type Fields = map[string]any

// A Cluster is an API server, with a user who has all rights. On the shared cluster,
// the objects of a test stay, under unique names.
type Cluster struct {
	Host       string // https://127.0.0.1:PORT, also the issuer of its tokens
	CA         []byte // in PEM
	Kubeconfig string // path

	t      *testing.T
	config *rest.Config
	client *http.Client
	etcdAt string              // URL; "" if unknown
	plane  *controlplane.Plane // nil if the test did not start it
}

// New returns the cluster of GATEPASS_TEST_KUBECONFIG, which all packages share, or
// skips the test. It sets the variables by which programs find a cluster to values that
// lead nowhere.
func New(t *testing.T) *Cluster {
	t.Helper()
	path := need(t, "GATEPASS_TEST_KUBECONFIG")
	Isolate(t)
	return open(t, path, os.Getenv("GATEPASS_TEST_ETCD"))
}

// need returns the value of a variable that make test-real sets, or skips the test if
// it is not set.
func need(t *testing.T, variable string) string {
	t.Helper()
	value := os.Getenv(variable)
	if value == "" && os.Getenv("GATEPASS_TEST_CHROOT") != "" {
		t.Skip("it runs outside of chroots")
	}
	if value == "" {
		t.Skip("missing: Kubernetes API server (make test-real sets " + variable + ")")
	}
	return value
}

// open returns the cluster of the kubeconfig at path.
func open(t *testing.T, path, etcd string) *Cluster {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	limited := rest.CopyConfig(config)
	limited.Timeout = time.Minute
	client, err := rest.HTTPClientFor(limited)
	if err != nil {
		t.Fatal(err)
	}
	return &Cluster{Host: config.Host, CA: config.CAData, Kubeconfig: path, t: t, config: config, client: client, etcdAt: etcd}
}

// Isolate hides the user's own configuration from the tests.
func Isolate(t *testing.T) {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	for _, name := range []string{"KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"} {
		t.Setenv(name, "")
	}
}

// Try makes one request and returns the status and the JSON of the answer. If the
// answer is not JSON, its text is in the field "message".
func (c *Cluster) Try(method, path string, body Fields) (code int, answer Fields) {
	c.t.Helper()
	contentType := "application/json"
	if method == http.MethodPatch {
		contentType = "application/merge-patch+json"
	}
	return c.send(method, path, contentType, body)
}

func (c *Cluster) send(method, path, contentType string, body Fields) (code int, answer Fields) {
	c.t.Helper()
	var text []byte
	var err error
	if body != nil {
		text, err = json.Marshal(body)
	}
	request, err2 := http.NewRequestWithContext(c.t.Context(), method, c.Host+path, bytes.NewReader(text))
	if err != nil || err2 != nil {
		c.t.Fatal(err, err2)
	}
	request.Header.Set("Content-Type", contentType)
	response, err := c.client.Do(request)
	if err != nil {
		c.t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err == nil && !strings.HasPrefix(response.Header.Get("Content-Type"), "application/json") {
		return response.StatusCode, Fields{"message": string(data)}
	}
	if err == nil {
		err = json.Unmarshal(data, &answer)
	}
	if err != nil {
		c.t.Fatalf("%s %s = %s, %v", method, path, response.Status, err)
	}
	return response.StatusCode, answer
}

// Call makes a request that must succeed.
func (c *Cluster) Call(method, path string, body Fields) Fields {
	c.t.Helper()
	code, answer := c.Try(method, path, body)
	if code/100 != 2 {
		c.t.Fatalf("%s %s = %d %v", method, path, code, answer["message"])
	}
	return answer
}

// Namespace creates a namespace and returns its name.
func (c *Cluster) Namespace() string {
	c.t.Helper()
	name := "t" + strconv.FormatInt(time.Now().UnixNano(), 36)
	c.Call(http.MethodPost, "/api/v1/namespaces", Fields{"metadata": Fields{"name": name}})
	return name
}

// accounts returns the API path of a namespace's service accounts.
func accounts(namespace string) string {
	return "/api/v1/namespaces/" + namespace + "/serviceaccounts"
}

// Token returns a token of a service account, which it creates if necessary: for an
// hour, or as spec says.
func (c *Cluster) Token(namespace, account string, spec Fields) string {
	c.t.Helper()
	code, answer := c.Try(http.MethodPost, accounts(namespace), Fields{"metadata": Fields{"name": account}})
	if code != http.StatusCreated && code != http.StatusConflict {
		c.t.Fatalf("make the service account %s: %d %v", account, code, answer["message"])
	}
	if spec == nil {
		spec = Fields{}
	}
	answer = c.Call(http.MethodPost, accounts(namespace)+"/"+account+"/token", Fields{"spec": spec})
	return answer["status"].(Fields)["token"].(string)
}

// DeleteAccount deletes a service account.
func (c *Cluster) DeleteAccount(namespace, account string) {
	c.t.Helper()
	c.Call(http.MethodDelete, accounts(namespace)+"/"+account, nil)
}

// Grant gives a ClusterRole to a subject of RBAC.
func (c *Cluster) Grant(role string, subject Fields) {
	c.t.Helper()
	const api = "rbac.authorization.k8s.io"
	c.Call(http.MethodPost, "/apis/"+api+"/v1/clusterrolebindings", Fields{
		"metadata": Fields{"generateName": "test-"},
		"roleRef":  Fields{"apiGroup": api, "kind": "ClusterRole", "name": role},
		"subjects": []Fields{subject},
	})
}

// For writes the kubeconfig of another user, as in {"token": "…"}, and returns its
// path.
func (c *Cluster) For(user Fields) string {
	c.t.Helper()
	text, err := json.Marshal(Fields{
		"apiVersion": "v1", "kind": "Config", "current-context": "it",
		"contexts": []Fields{{"name": "it", "context": Fields{"cluster": "it", "user": "it"}}},
		"clusters": []Fields{{"name": "it", "cluster": Fields{"server": c.Host, "certificate-authority-data": c.CA}}},
		"users":    []Fields{{"name": "it", "user": user}},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return c.File("kubeconfig", string(text))
}

// File writes a file, for this test alone, and returns its path.
func (c *Cluster) File(name, text string) string {
	c.t.Helper()
	path := filepath.Join(c.t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return path
}

// Port returns the API server's port.
func (c *Cluster) Port() string { return c.Host[strings.LastIndexByte(c.Host, ':')+1:] }

// Wait calls done every 20 ms until it returns true. It fails the test after within.
// done also returns what it saw, for the failure's message.
func Wait(t testing.TB, within time.Duration, what string, done func() (ok bool, saw any)) {
	t.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(20 * time.Millisecond) {
		ok, saw := done()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s: %v", within, what, saw)
		}
	}
}

// compactedKey is the etcd key under which API servers record up to which revision etcd
// was compacted (k8s.io/apiserver, pkg/storage/etcd3/compact.go). Each API server reads
// it every 15 seconds, and answers from its cache until then.
const compactedKey = "compact_rev_key"

// Compact makes etcd drop all but the newest revision, as another API server of the
// cluster would: each does so every five minutes (--etcd-compaction-interval). It uses
// etcd's JSON gateway (https://etcd.io/docs/v3.6/dev-guide/api_grpc_gateway/).
func (c *Cluster) Compact() {
	c.t.Helper()
	base := c.etcdAt
	if base == "" {
		c.t.Skip("missing: the URL of the cluster's etcd (make test-real sets GATEPASS_TEST_ETCD)")
	}
	var now struct {
		Header struct {
			Revision string `json:"revision"`
		} `json:"header"`
	}
	if err := json.Unmarshal(c.etcd(base+"/v3/maintenance/status", Fields{}), &now); err != nil || now.Header.Revision == "" {
		c.t.Fatalf("etcd has no revision: %v", err)
	}
	encode := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	c.etcd(base+"/v3/kv/put", Fields{"key": encode(compactedKey), "value": encode(now.Header.Revision)})
	c.etcd(base+"/v3/kv/compaction", Fields{"revision": now.Header.Revision, "physical": true})
}

func (c *Cluster) etcd(url string, body Fields) []byte {
	c.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		c.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, url, bytes.NewReader(text))
	if err != nil {
		c.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		c.t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		c.t.Fatalf("etcd answers %d %s, %v", response.StatusCode, data, err)
	}
	return data
}
