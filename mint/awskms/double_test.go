package awskms

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/gatepass/gatepass/test/testkey"
)

const (
	alias = "alias/gatepass"
	arn   = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
)

var keys = []*rsa.PrivateKey{testkey.RSA(2048, 0), testkey.RSA(3072, 0)}

func newKey(bits int) *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return key
}

// double speaks AWS JSON 1.1 as KMS does, has one key under every name, and accepts
// only complete and signed GetPublicKey and Sign requests. It signs a digest as it is.
type double struct {
	region string

	mu       sync.Mutex // guards the fields below
	key      *rsa.PrivateKey
	arn      string
	spec     string
	usage    string
	script   []http.HandlerFunc // the next answers
	failing  map[string]http.HandlerFunc
	calls    []string
	invalid  []string
	tamper   func(signature []byte) []byte
	identity string // in the last request's signature
}

type signRequest struct{ KeyId, Message, MessageType, SigningAlgorithm string }

func (d *double) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	action := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "TrentService.")
	d.calls = append(d.calls, action)
	d.identity = r.Header.Get("Authorization")
	body, digest, problem := d.check(r, action)
	switch {
	case problem != "":
		d.invalid = append(d.invalid, problem)
		fail(400, "ValidationException", problem)(w, r)
	case len(d.script) > 0:
		next := d.script[0]
		d.script = d.script[1:]
		next(w, r)
	case d.failing[action] != nil:
		d.failing[action](w, r)
	case action == "GetPublicKey":
		der, _ := x509.MarshalPKIXPublicKey(&d.key.PublicKey)
		reply(w, 200, map[string]any{
			"KeyId": d.arn, "PublicKey": der, "KeySpec": d.spec, "CustomerMasterKeySpec": d.spec, "KeyUsage": d.usage,
			"SigningAlgorithms": []string{"RSASSA_PKCS1_V1_5_SHA_256"},
		})
	default:
		signature, err := rsa.SignPKCS1v15(rand.Reader, d.key, crypto.SHA256, digest)
		if err != nil {
			d.invalid = append(d.invalid, err.Error())
		}
		if d.tamper != nil {
			signature = d.tamper(signature)
		}
		reply(w, 200, map[string]any{"KeyId": d.arn, "Signature": signature, "SigningAlgorithm": body.SigningAlgorithm})
	}
}

func (d *double) check(r *http.Request, action string) (body signRequest, digest []byte, problem string) {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	scope := "/" + d.region + "/kms/aws4_request"
	authorization := r.Header.Get("Authorization")
	switch {
	case r.Method != http.MethodPost || r.URL.Path != "/":
		return body, nil, "not POST /"
	case r.Header.Get("Content-Type") != "application/x-amz-json-1.1":
		return body, nil, "content type " + r.Header.Get("Content-Type")
	case !strings.HasPrefix(authorization, "AWS4-HMAC-SHA256 Credential=") || !strings.Contains(authorization, scope):
		return body, nil, "not signed for " + scope
	case dec.Decode(&body) != nil || body.KeyId == "":
		return body, nil, "no key, or unknown fields"
	}
	switch action {
	case "GetPublicKey":
		if body != (signRequest{KeyId: body.KeyId}) {
			problem = "GetPublicKey with more than a key"
		}
	case "Sign":
		digest, err := base64.StdEncoding.DecodeString(body.Message)
		if err != nil || len(digest) != sha256.Size || body.MessageType != "DIGEST" || body.SigningAlgorithm != "RSASSA_PKCS1_V1_5_SHA_256" {
			problem = "not a SHA-256 digest for RSASSA_PKCS1_V1_5_SHA_256"
		}
		return body, digest, problem
	default:
		problem = "action " + action
	}
	return body, nil, problem
}

func (d *double) count(action string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, c := range d.calls {
		if c == action {
			n++
		}
	}
	return n
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func fail(status int, code, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		body := map[string]string{"__type": code}
		if message != "" {
			body["message"] = message
		}
		reply(w, status, body)
	}
}

// hang does not answer until the client has left.
func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func drop(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// start serves d, a key of 2048 bits unless it has another, and clears all AWS
// configuration from the environment of the tests.
func start(t *testing.T, d *double) (endpoint string) {
	t.Helper()
	isolate(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret-access-key")
	for field, value := range map[*string]string{&d.region: "us-east-1", &d.arn: arn, &d.spec: "RSA_2048", &d.usage: "SIGN_VERIFY"} {
		if *field == "" {
			*field = value
		}
	}
	if d.key == nil {
		d.key = keys[0]
	}
	server := httptest.NewServer(d)
	t.Cleanup(server.Close)
	t.Cleanup(func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if len(d.invalid) > 0 {
			t.Errorf("KMS was sent invalid requests: %q", d.invalid)
		}
	})
	return server.URL
}

func isolate(t *testing.T) {
	t.Helper()
	none := filepath.Join(t.TempDir(), "none")
	for _, key := range []string{
		"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
		"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KMS", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_MAX_ATTEMPTS",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_EC2_METADATA_SERVICE_ENDPOINT",
		"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy",
	} {
		t.Setenv(key, "")
	}
	t.Setenv("AWS_CONFIG_FILE", none)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", none)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}

func open(t *testing.T, rawURL string) *Signer {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(u)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// serve opens d's key.
func serve(t *testing.T, d *double) *Signer {
	t.Helper()
	return open(t, "awskms:///"+alias+"?region=us-east-1&endpoint="+start(t, d))
}
