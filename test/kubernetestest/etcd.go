package kubernetestest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
)

// compactedKey is where API servers tell each other up to where etcd was compacted
// (k8s.io/apiserver, pkg/storage/etcd3/compact.go). Each looks every 15 seconds, and
// answers from its memory until then.
const compactedKey = "compact_rev_key"

// Compact has etcd forget all that is not the newest, as another API server of the
// cluster would: each does every five minutes (--etcd-compaction-interval). It goes by
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
