package workspacekey

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepass/gatepass/credential/ssmstore"
	"github.com/gatepass/gatepass/store"
)

// An account is the part of AWS that this package uses, and stricter than an emulator:
// it encrypts a parameter only with a key that exists, is enabled and whose policy
// allows it.
type account struct {
	t *testing.T
	*httptest.Server

	mu         sync.Mutex // guards the rest
	keys       map[string]*kmsKey
	aliases    map[string]string // to keys
	parameters map[string]parameter
	calls      []string
	refused    map[string]string // AWS's error code, by operation
	lost       int               // the number of the call that is cut off; 0 for none
	after      bool              // the cut call is still carried out
	slow       int               // number of writes for which a new key does not exist yet
}

type kmsKey struct {
	state, policy string
	tags          map[string]string
}

type parameter struct{ value, key string }

const arnStart = "arn:aws:ssm:us-east-1:123456789012:parameter"

func newAccount(t *testing.T) *account {
	t.Helper()
	isolate(t)
	a := &account{t: t, keys: map[string]*kmsKey{}, aliases: map[string]string{}, parameters: map[string]parameter{}, refused: map[string]string{}}
	a.Server = httptest.NewServer(a)
	t.Cleanup(a.Close)
	a.parameters["/km/config/github/app-client-id"] = parameter{value: "Iv23x"}
	return a
}

// isolate hides this machine's own AWS settings.
func isolate(t *testing.T) {
	t.Helper()
	none := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "x", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_ENDPOINT_URL": "", "AWS_ENDPOINT_URL_KMS": "", "AWS_ENDPOINT_URL_SSM": "", "AWS_ROLE_ARN": "", "AWS_WEB_IDENTITY_TOKEN_FILE": "",
		"AWS_MAX_ATTEMPTS": "", "AWS_CA_BUNDLE": "", "AWS_EC2_METADATA_DISABLED": "true", "HTTP_PROXY": "", "HTTPS_PROXY": "", "http_proxy": "", "https_proxy": "",
		"AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none,
	} {
		t.Setenv(name, value)
	}
}

// open opens the store as another process would.
func (a *account) open() *Store { return openAt(a.t, a.URL) }

func openAt(t *testing.T, endpoint string) *Store {
	t.Helper()
	u, err := url.Parse("ssm:///km?workspaces=/&region=us-east-1&kms_key=create:alias/km-github-token-{workspace}&endpoint=" + url.QueryEscape(endpoint))
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssmstore.OpenStore(u)
	if err != nil {
		t.Fatal(err)
	}
	return New(s)
}

// An awsError is an answer other than success.
type awsError string

func (a *account) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	var in map[string]any
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/") {
		a.t.Errorf("%s is no signed JSON: %v", operation, err)
	}
	a.calls = append(a.calls, operation)
	isLost := len(a.calls) == a.lost
	var answer any = awsError(a.refused[operation])
	if answer == awsError("") && (!isLost || a.after) {
		answer = a.do(operation, in)
	}
	if isLost {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if code, isRefused := answer.(awsError); isRefused {
		w.WriteHeader(http.StatusBadRequest)
		answer = map[string]any{"__type": string(code), "message": "no"}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func (a *account) do(operation string, in map[string]any) any {
	text := func(key string) string { s, _ := in[key].(string); return s }
	switch operation {
	case "GetParameter":
		return a.get(text("Name"), in["WithDecryption"] == true)
	case "PutParameter":
		return a.put(text("Name"), text("Value"), text("Type"), text("KeyId"), in["Overwrite"] == true)
	case "DeleteParameter":
		if _, ok := a.parameters[text("Name")]; !ok {
			return awsError("ParameterNotFound")
		}
		delete(a.parameters, text("Name"))
		return map[string]any{}
	case "CreateKey":
		return a.create(text("Policy"), in["Tags"])
	case "CreateAlias":
		if a.aliases[text("AliasName")] != "" {
			return awsError("AlreadyExistsException")
		}
		if a.keys[text("TargetKeyId")] == nil {
			return awsError("NotFoundException")
		}
		a.aliases[text("AliasName")] = text("TargetKeyId")
		return map[string]any{}
	case "DeleteAlias":
		if a.aliases[text("AliasName")] == "" {
			return awsError("NotFoundException")
		}
		delete(a.aliases, text("AliasName"))
		return map[string]any{}
	case "ListKeys":
		var all []map[string]string
		for _, id := range slices.Sorted(maps.Keys(a.keys)) {
			all = append(all, map[string]string{"KeyId": id})
		}
		return map[string]any{"Keys": all, "Truncated": false}
	}
	return a.about(operation, text("KeyId"), in)
}

// about does an operation on one key.
func (a *account) about(operation, name string, in map[string]any) any {
	id := name
	if strings.HasPrefix(name, "alias/") {
		id = a.aliases[name]
	}
	k := a.keys[id]
	switch {
	case k == nil:
		return awsError("NotFoundException")
	case operation == "DescribeKey":
		return map[string]any{"KeyMetadata": map[string]any{"KeyId": id, "KeyState": k.state, "KeySpec": "SYMMETRIC_DEFAULT", "KeyManager": "CUSTOMER"}}
	case operation == "ListResourceTags":
		var all []map[string]string
		for key, value := range k.tags {
			all = append(all, map[string]string{"TagKey": key, "TagValue": value})
		}
		return map[string]any{"Tags": all}
	case operation == "ScheduleKeyDeletion" && k.state == "PendingDeletion":
		return awsError("KMSInvalidStateException")
	case operation == "ScheduleKeyDeletion":
		if in["PendingWindowInDays"] != 30.0 {
			a.t.Errorf("a key is deleted in %v days, want 30", in["PendingWindowInDays"])
		}
		k.state = "PendingDeletion"
		return map[string]any{"KeyId": id}
	}
	a.t.Errorf("KMS is asked for %s", operation)
	return awsError("UnknownOperationException")
}

func (a *account) create(policy string, tags any) any {
	k := &kmsKey{state: "Enabled", policy: policy, tags: map[string]string{}}
	for _, tag := range tags.([]any) {
		t := tag.(map[string]any)
		k.tags[t["TagKey"].(string)] = t["TagValue"].(string)
	}
	id := fmt.Sprintf("key-%d", len(a.keys)+1)
	a.keys[id] = k
	return map[string]any{"KeyMetadata": map[string]any{"KeyId": id, "KeyState": "Enabled"}}
}

func (a *account) get(name string, decrypted bool) any {
	p, ok := a.parameters[name]
	if !ok {
		return awsError("ParameterNotFound")
	}
	if decrypted && p.key != "" && !a.mayUse(p.key, name) {
		return awsError("InvalidKeyId")
	}
	return map[string]any{"Parameter": map[string]any{"Name": name, "Value": p.value, "ARN": arnStart + name, "LastModifiedDate": float64(time.Now().Unix())}}
}

func (a *account) put(name, value, kind, key string, overwrite bool) any {
	if _, ok := a.parameters[name]; ok && !overwrite {
		return awsError("ParameterAlreadyExists")
	}
	p := parameter{value: value}
	if key != "" {
		if a.slow > 0 {
			a.slow--
			return awsError("InvalidKeyId")
		}
		if p.key = a.aliases[key]; !a.mayUse(p.key, name) || kind != "SecureString" {
			return awsError("InvalidKeyId")
		}
	}
	a.parameters[name] = p
	return map[string]any{"Version": 1}
}

// mayUse reports whether a key's policy allows the parameter, through Parameter Store.
func (a *account) mayUse(id, name string) bool {
	k := a.keys[id]
	if k == nil || k.state != "Enabled" {
		return false
	}
	var policy struct {
		Statement []struct {
			Action    []string
			Principal map[string]string
			Condition map[string]map[string]string
		}
	}
	if json.Unmarshal([]byte(k.policy), &policy) != nil {
		return false
	}
	for _, s := range policy.Statement {
		like := s.Condition["StringLike"]
		under, isFolder := strings.CutSuffix(like["kms:EncryptionContext:PARAMETER_ARN"], "*")
		if slices.Contains(s.Action, "kms:Decrypt") && isFolder && strings.HasPrefix(arnStart+name, under) && like["kms:ViaService"] == "ssm.us-east-1.*" {
			return true
		}
	}
	return false
}

// count returns how many keys are in a state.
func (a *account) count(state string) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, k := range a.keys {
		if k.state == state {
			n++
		}
	}
	return n
}

func name(t *testing.T, id, text string) store.Name {
	t.Helper()
	n, err := store.ParseName("sandbox/" + id + "/" + text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
