package stacktest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A Recorder is a proxy in front of AWS that records the calls.
type Recorder struct {
	*httptest.Server
	t    *testing.T
	mu   sync.Mutex // guards seen
	seen []Call
}

// A Call is an operation, with the parts of its request that IAM checks.
type Call struct {
	Operation      string `json:"-"` // "AmazonSSM.GetParameter", "TrentService.Sign"
	Name, Path     string
	Type           string
	WithDecryption bool
	KeyID          string
	AliasName      string

	IndexName                 string
	Key, Item                 item
	ExpressionAttributeValues item
	RequestItems              map[string]struct{ Keys []item }
}

// An item is a DynamoDB item, by attribute and type.
type item map[string]map[string]any

// leadingKeys returns the partition keys of a DynamoDB call.
func (c Call) leadingKeys() (keys []string) {
	all := []item{c.Key, c.Item, {"shard": c.ExpressionAttributeValues[":shard"]}}
	for _, table := range c.RequestItems {
		all = append(all, table.Keys...)
	}
	for _, it := range all {
		if key, ok := it["shard"]["S"].(string); ok {
			keys = append(keys, key)
		}
	}
	return keys
}

// Record starts a recorder in front of the emulator. It ends with the test.
func Record(t *testing.T, endpoint string) *Recorder {
	t.Helper()
	u, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	r := &Recorder{t: t}
	proxy := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(u) }}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			t.Error(err)
		}
		r.note(q, body)
		q.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(w, q)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *Recorder) note(q *http.Request, body []byte) {
	call := Call{Operation: q.Header.Get("X-Amz-Target")}
	if err := json.Unmarshal(body, &call); err != nil || call.Operation == "" {
		r.t.Errorf("AWS is asked %s %s %s: %v", q.Method, q.URL, q.Header, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, call)
}

// Calls returns the calls so far.
func (r *Recorder) Calls() []Call {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.seen)
}

// actions returns the actions that IAM requires: the call's own, and those by which
// Parameter Store uses a KMS key in the caller's name
// (https://docs.aws.amazon.com/kms/latest/developerguide/services-parameter-store.html).
func (c Call) actions() []string {
	service, operation, _ := strings.Cut(c.Operation, ".")
	prefix := map[string]string{"AmazonSSM": "ssm:", "TrentService": "kms:", "DynamoDB_20120810": "dynamodb:"}[service]
	all := []string{prefix + operation}
	switch {
	case operation == "CreateKey":
		all = append(all, "kms:TagResource")
	case operation == "GetParameter" && c.WithDecryption:
		all = append(all, "kms:Decrypt")
	case operation == "PutParameter" && c.Type == "SecureString":
		all = append(all, "kms:Encrypt", "kms:GenerateDataKey")
	}
	return all
}

// resources returns the resources of the action. Changing an alias requires permission
// for both the alias and its key.
func (c Call) resources(action string) []string {
	if c.AliasName != "" {
		return []string{"arn:aws:kms:us-east-1:123456789012:" + c.AliasName, c.resource(action)}
	}
	return []string{c.resource(action)}
}

// resource returns the resource of the action, without an alias.
func (c Call) resource(action string) string {
	switch {
	case strings.HasPrefix(action, "dynamodb:") && c.IndexName != "":
		return ARNs["Table.Arn"] + "/index/" + c.IndexName
	case strings.HasPrefix(action, "dynamodb:"):
		return ARNs["Table.Arn"]
	case action == "kms:Sign" || action == "kms:GetPublicKey":
		return c.KeyID
	case strings.HasPrefix(action, "kms:") && (strings.HasPrefix(c.KeyID, "alias/") || strings.HasPrefix(c.Operation, "TrentService.")):
		return "arn:aws:kms:us-east-1:123456789012:key/x"
	case strings.HasPrefix(action, "kms:"):
		return ARNs["StoreKey.Arn"]
	}
	return "arn:aws:ssm:us-east-1:123456789012:parameter" + c.Name + c.Path
}

// Check compares calls with a policy in both directions: it reports calls that are not
// allowed, and permissions that were not needed.
func Check(t *testing.T, calls []Call, policy []Statement) {
	t.Helper()
	used := CheckAllowed(t, calls, policy)
	for i, st := range policy {
		for _, action := range st.Actions {
			if !used[fmt.Sprint(i, action)] && !strings.HasPrefix(action, "logs:") { // Lambda itself writes the logs
				t.Errorf("%s allows %s, which was not needed", st.ID, action)
			}
		}
	}
}

// CheckAllowed reports calls that a policy does not allow. It returns the permissions
// that the other calls needed, by the index of the statement and the action.
func CheckAllowed(t *testing.T, calls []Call, policy []Statement) (used map[string]bool) {
	t.Helper()
	used = map[string]bool{}
	for _, call := range calls {
		for _, action := range call.actions() {
			for _, resource := range call.resources(action) {
				isAllowed := false
				for i, st := range policy {
					if st.Allows(action, resource, call.leadingKeys()...) {
						isAllowed = true
						used[fmt.Sprint(i, action)] = true
					}
				}
				if !isAllowed {
					t.Errorf("the role does not allow %s on %s %v", action, resource, call.leadingKeys())
				}
			}
		}
	}
	return used
}
