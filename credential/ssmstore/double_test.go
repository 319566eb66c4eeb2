package ssmstore

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// double speaks AWS JSON 1.1 as SSM does and accepts only complete and signed
// GetParameter requests.
type double struct {
	region string
	off    time.Duration // AWS's clock minus ours

	mu         sync.Mutex // guards the fields below
	parameters map[string]parameter
	script     []http.HandlerFunc // the next answers, before parameters are looked up
	calls      int
	invalid    []string

	authorization string // of the last call
}

type parameter struct {
	value    string
	modified time.Time // zero leaves the date out
}

func (d *double) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls++
	d.authorization = r.Header.Get("Authorization")
	w.Header().Set("Date", time.Now().Add(d.off).UTC().Format(http.TimeFormat))
	name, problem := d.check(r)
	if problem != "" {
		d.invalid = append(d.invalid, problem)
		fail(400, "ValidationException", problem)(w, r)
		return
	}
	if len(d.script) > 0 {
		next := d.script[0]
		d.script = d.script[1:]
		next(w, r)
		return
	}
	p, ok := d.parameters[name]
	if !ok {
		fail(400, "ParameterNotFound", "")(w, r)
		return
	}
	answer := map[string]any{"Name": name, "Type": "SecureString", "Value": p.value, "Version": 1}
	if !p.modified.IsZero() {
		answer["LastModifiedDate"] = float64(p.modified.UnixMilli()) / 1000
	}
	reply(w, 200, map[string]any{"Parameter": answer})
}

func (d *double) check(r *http.Request) (name, problem string) {
	var body struct {
		Name           string
		WithDecryption bool
	}
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	scope := "/" + d.region + "/ssm/aws4_request"
	switch authorization := r.Header.Get("Authorization"); {
	case r.Method != http.MethodPost || r.URL.Path != "/":
		return "", "not POST /"
	case r.Header.Get("X-Amz-Target") != "AmazonSSM.GetParameter":
		return "", "target " + r.Header.Get("X-Amz-Target")
	case r.Header.Get("Content-Type") != "application/x-amz-json-1.1":
		return "", "content type " + r.Header.Get("Content-Type")
	case !strings.HasPrefix(authorization, "AWS4-HMAC-SHA256 Credential=") || !strings.Contains(authorization, scope):
		return "", "not signed for " + scope
	case dec.Decode(&body) != nil || body.Name == "" || !body.WithDecryption:
		return "", "not a name WithDecryption"
	}
	return body.Name, ""
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

func raw(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// cutOff announces more than it sends.
func cutOff(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(body)+100))
		_, _ = io.WriteString(w, body)
	}
}

// hang does not answer until the client has left.
func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func drop(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }

func again(h http.HandlerFunc, times int) []http.HandlerFunc {
	list := make([]http.HandlerFunc, times)
	for i := range list {
		list[i] = h
	}
	return list
}

// start serves d and clears all AWS configuration from the environment of the tests.
func start(t *testing.T, d *double) (endpoint string) {
	t.Helper()
	isolate(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret-access-key")
	if d.region == "" {
		d.region = "us-east-1"
	}
	server := httptest.NewServer(d)
	t.Cleanup(server.Close)
	t.Cleanup(func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if len(d.invalid) > 0 {
			t.Errorf("SSM was sent invalid requests: %q", d.invalid)
		}
	})
	return server.URL
}

func isolate(t *testing.T) {
	t.Helper()
	none := filepath.Join(t.TempDir(), "none")
	for _, key := range []string{
		"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
		"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SSM", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_MAX_ATTEMPTS",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_EC2_METADATA_SERVICE_ENDPOINT",
		"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy",
	} {
		t.Setenv(key, "")
	}
	t.Setenv("AWS_CONFIG_FILE", none)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", none)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}

func open(t *testing.T, rawURL string) *Source {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(u, "sb-1")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func writeFile(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
