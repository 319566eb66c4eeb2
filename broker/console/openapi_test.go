package console

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/gatepass/gatepass/broker/identity"
	"github.com/gatepass/gatepass/broker/revoke"
	"github.com/gatepass/gatepass/test/brokertest"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// A contract checks answers against the description.
type contract struct {
	t        *testing.T
	document map[string]any
	compiler *jsonschema.Compiler
	seen     map[string]bool // "POST /v1/kill 200"
}

func newContract(t *testing.T) *contract {
	t.Helper()
	text, err := openapiDocument()
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("openapi.json", document); err != nil {
		t.Fatal(err)
	}
	return &contract{t, document.(map[string]any), compiler, map[string]bool{}}
}

// at follows keys and references in the description.
func (c *contract) at(pointer string) (any, string) {
	var found any = c.document
	for key := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		key = strings.NewReplacer("~1", "/", "~0", "~").Replace(key)
		object, ok := found.(map[string]any)
		if !ok {
			return nil, pointer
		}
		found = object[key]
	}
	if object, ok := found.(map[string]any); ok && object["$ref"] != nil {
		return c.at(strings.TrimPrefix(fmt.Sprint(object["$ref"]), "#"))
	}
	return found, pointer
}

func escaped(key string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(key) }

// pathOf returns the path in the description that a request is for.
func (c *contract) pathOf(target string) string {
	parts := strings.Split(target, "/")
	for path := range c.document["paths"].(map[string]any) {
		want := strings.Split(path, "/")
		isAlike := len(want) == len(parts)
		for i := 0; isAlike && i < len(parts); i++ {
			isAlike = want[i] == parts[i] || strings.HasPrefix(want[i], "{")
		}
		if isAlike {
			return path
		}
	}
	return ""
}

// watch checks every answer of a handler against the description.
func (c *contract) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			c.t.Error(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		got := httptest.NewRecorder()
		next.ServeHTTP(got, r)
		path := c.pathOf(r.URL.Path)
		operation := "/paths/" + escaped(path) + "/" + strings.ToLower(r.Method)
		if err := c.check(operation, r, body, got); err != nil {
			c.t.Errorf("%s %s %.200s answers %d %.300s: %v", r.Method, r.URL.Path, body, got.Code, got.Body, err)
		}
		c.seen[r.Method+" "+path+" "+strconv.Itoa(got.Code)] = true
		maps.Copy(w.Header(), got.Header())
		w.WriteHeader(got.Code)
		_, _ = w.Write(got.Body.Bytes())
	})
}

func (c *contract) check(operation string, r *http.Request, body []byte, got *httptest.ResponseRecorder) error {
	if described, _ := c.at(operation); described == nil {
		if got.Code == http.StatusMethodNotAllowed {
			return c.body("/components/responses/Problem", got.Header().Get("Content-Type"), got.Body.Bytes())
		}
		return fmt.Errorf("the description has no %s", operation)
	}
	answer, at := c.at(operation + "/responses/" + strconv.Itoa(got.Code))
	if answer == nil {
		return fmt.Errorf("the description does not know the status")
	}
	if got.Code < 300 && len(body) > 0 {
		if err := c.body(operation+"/requestBody", r.Header.Get("Content-Type"), body); err != nil {
			return fmt.Errorf("the request was taken, and is not as described: %w", err)
		}
	}
	if answer.(map[string]any)["content"] == nil {
		if got.Body.Len() > 0 {
			return fmt.Errorf("the description knows no body")
		}
		return nil
	}
	return c.body(at, got.Header().Get("Content-Type"), got.Body.Bytes())
}

// body checks a body against the schema of its media type.
func (c *contract) body(at, contentType string, body []byte) error {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return err
	}
	schemaAt := at + "/content/" + escaped(media) + "/schema"
	if found, _ := c.at(schemaAt); found == nil {
		return fmt.Errorf("the description does not know %s", media)
	}
	schema, err := c.compiler.Compile("openapi.json#" + schemaAt)
	if err != nil {
		return err
	}
	var value any = string(body)
	if strings.HasSuffix(media, "json") {
		if value, err = jsonschema.UnmarshalJSON(bytes.NewReader(body)); err != nil {
			return err
		}
	}
	return schema.Validate(value)
}

// sign signs a delivery as GitHub does.
func sign(secret, body string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// Every answer is in the description, and every success status in the description is
// answered.
func TestAnswersAreAsDescribed(t *testing.T) {
	c := newContract(t)
	b := newBench(t)
	handler := c.watch(b.Handler())
	do := func(who, method, target, contentType, body string, headers ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, target, strings.NewReader(body))
		if contentType != "" {
			r.Header.Set("Content-Type", contentType)
		}
		switch who {
		case "":
		case "night":
			r.Header.Set("Authorization", "Bearer "+brokertest.OperatorToken)
		default:
			r.Header.Set("Test-Caller", who)
		}
		for i := 0; i+1 < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
	const json, widgets = "application/json", `{"host":"github.com","repo":"acme/widgets","operation":"read"}`
	for _, who := range []string{"ci", "sb-1", "sb-2", "", "forged", "x"} {
		do(who, "POST", "/v1/token", json, widgets)
		do(who, "GET", "/v1/explain?host=github.com&repo=acme/widgets&operation=write", "", "")
		do(who, "GET", "/v1/workspaces", "", "")
	}
	b.join(do)
	do("ci", "POST", "/v1/token", json, `{"host":"github.com","repo":"octo/widgets","operation":"write","permissions":{"contents":"write"},"min_ttl":600}`)
	do("ci", "POST", "/v1/token", json, `{"host":"github.com","repo":"acme/widgets","operation":"read","repository_id":4242}`)
	do("ci", "GET", "/v1/explain?host=github.com&repo=acme/widgets&repository_id=4242", "", "")
	do("ci", "GET", "/v1/explain?host=github.com&repo=acme/widgets&repository_id=all", "", "")
	do("ci", "POST", "/v1/token", json, `{"host":"gitlab.com","repo":"acme/widgets","operation":"read"}`)
	do("ci", "POST", "/v1/token", json, strings.Repeat(" ", 5000))
	do("ci", "POST", "/v1/token", "text/plain", widgets)
	do("ci", "PUT", "/v1/token", json, widgets)
	reports(do)
	do("ci", "POST", "/v1/git-credentials", "text/plain", "protocol=https\nhost=github.com\npath=acme/widgets.git\n\n")
	do("ci", "POST", "/v1/git-credentials", "text/plain", "protocol=http\nhost=github.com\n\n")
	do("ci", "POST", "/v1/git-credentials", "text/plain", "nonsense")
	do("ci", "GET", "/v1/explain?host=github.com&repo=acme/nothing", "", "")
	do("ci", "GET", "/v1/explain?host=github.com&repo=acme", "", "")
	for _, claims := range []string{`{"id":"ci"}`, `{"id":"x"}`, `{"id":["ci"],"n":7}`, `{}`} {
		do("night", "POST", "/v1/explain", json, `{"host":"github.com","repo":"acme/widgets","operation":"write","claims":`+claims+`}`)
	}
	do("night", "POST", "/v1/explain", json, `{"host":"github.com"}`)
	do("night", "GET", "/v1/workspaces?limit=1", "", "")
	do("night", "GET", "/v1/workspaces?prefix=sb-&after=sb-1", "", "")
	do("night", "POST", "/v1/workspaces/sb-1/revoke", "", "")
	do("sb-2", "POST", "/v1/token", json, widgets)
	cancel := b.Fail(fakegithub.To("DELETE", "/installation/token"), fakegithub.Status(403), 100)
	do("night", "POST", "/v1/workspaces/sb-2/revoke", "", "")
	do("night", "POST", "/v1/kill", json, `{"owner":"acme"}`)
	cancel()
	do("night", "GET", "/v1/workspaces", "", "")
	for _, path := range []string{"/v1/workspaces/sb-1/block", "/v1/workspaces/sb-1/bar"} {
		do("night", "DELETE", path, "", "")
	}
	for _, path := range []string{"/v1/unblock", "/v1/admit"} {
		do("night", "POST", path, json, `{"owner":"acme"}`)
	}
	do("night", "POST", "/v1/kill", json, `{"app":true}`)
	do("night", "POST", "/v1/kill", json, `{"app":true,"owner":"x"}`)
	do("night", "POST", "/v1/kill", "text/plain", `{"app":true}`)
	do("night", "POST", "/v1/kill", json, `{"owner":"`+strings.Repeat("x", maxTarget)+`"}`)
	do("", "GET", "/v1/openapi.json", "", "")
	do("", "GET", "/v1/nonce", "", "")
	do("", "POST", "/v1/nonce", json, "{}")
	body := `{"action":"suspend","installation":{"account":{"login":"acme"}}}`
	signature := sign(webhookSecret, body)
	ping := `{"zen":"Keep it logically awesome."}`
	for _, media := range []string{json, "application/x-www-form-urlencoded"} {
		do("", "POST", revoke.WebhookPath, media, ping, "X-Hub-Signature-256", sign(webhookSecret, ping), "X-GitHub-Event", "ping", "X-GitHub-Delivery", "0")
	}
	for range 2 {
		do("", "POST", revoke.WebhookPath, json, body, "X-Hub-Signature-256", signature, "X-GitHub-Event", "installation", "X-GitHub-Delivery", "1")
	}
	do("", "POST", revoke.WebhookPath, json, body, "X-Hub-Signature-256", sign("another secret, as long", body), "X-GitHub-Event", "installation", "X-GitHub-Delivery", "2")
	do("", "POST", revoke.WebhookPath, json, strings.Repeat(" ", 4<<20+1), "X-Hub-Signature-256", signature, "X-GitHub-Event", "push", "X-GitHub-Delivery", "3")
	c.complete()
}

// reports sends reports of refused pushes, in all ways.
func reports(do func(who, method, target, contentType, body string, headers ...string) *httptest.ResponseRecorder) {
	const path, json = "/v1/refused-pushes", "application/json"
	update := `{"ref":"refs/heads/$(größe)<i>","action":"force","reason":"no rule allows it"}`
	body := `{"host":"github.com","repo":"acme/widgets","updates":[` + strings.Repeat(update+",", 31) + update + `]}`
	for _, who := range []string{"ci", "sb-1", "", "forged", "x", "ci", "ci"} {
		do(who, "POST", path, json, body)
	}
	do("ci", "POST", path, json, strings.Replace(body, "refs/heads/", `refs/\u0000`, 1))
	do("ci", "POST", path, json, "{}")
	do("ci", "POST", path, json, strings.Repeat(" ", 70000))
	do("ci", "POST", path, "text/plain", body)
	do("ci", "PUT", path, json, body)
}

// join exchanges a join token, twice.
func (b *bench) join(do func(who, method, target, contentType, body string, headers ...string) *httptest.ResponseRecorder) {
	b.T.Helper()
	token, err := identity.IssueJoinToken(b.T.Context(), b.Store, b.Now(), "sb-9", "joined", time.Minute)
	if err != nil {
		b.T.Fatal(err)
	}
	body := `{"join_token":"` + token.Reveal() + `"}`
	for _, want := range []int{200, 403} {
		wantCode(b.T, "a join token", do("", "POST", "/v1/exchange", "application/json", body), want)
	}
	do("", "POST", "/v1/exchange", "application/json", `{"join_token":""}`)
	do("", "POST", "/v1/exchange", "application/json", `{}`)
	do("", "PUT", "/v1/exchange", "application/json", body)
}

// complete reports success statuses, and operations, that were not seen.
func (c *contract) complete() {
	for path, item := range c.document["paths"].(map[string]any) {
		for method, operation := range item.(map[string]any) {
			for status := range operation.(map[string]any)["responses"].(map[string]any) {
				key := strings.ToUpper(method) + " " + path + " " + status
				if status < "300" && !c.seen[key] {
					c.t.Errorf("%s is described and was not answered", key)
				}
			}
		}
	}
}

// All of the description can be called, and everything served under /v1 is in it.
func TestWhatIsDescribedIsServed(t *testing.T) {
	c := newContract(t)
	b := newBench(t)
	for path, item := range c.document["paths"].(map[string]any) {
		for method := range item.(map[string]any) {
			got := b.Do("", strings.ToUpper(method), strings.ReplaceAll(path, "{id}", "x"), "")
			if got.Code == http.StatusNotFound || got.Code == http.StatusMethodNotAllowed {
				t.Errorf("%s %s = %d, want it served", method, path, got.Code)
			}
		}
	}
	for pattern := range b.Server.Mounted {
		if strings.HasPrefix(pattern, "/v1/") && c.pathOf(strings.ReplaceAll(pattern, "{id}", "x")) == "" {
			t.Errorf("%s is served and not described", pattern)
		}
	}
}

// Every schema compiles, and every reference resolves.
func TestTheDescriptionIsWhole(t *testing.T) {
	c := newContract(t)
	schemas, _ := c.at("/components/schemas")
	for name := range schemas.(map[string]any) {
		if _, err := c.compiler.Compile("openapi.json#/components/schemas/" + name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	var look func(any)
	look = func(node any) {
		switch n := node.(type) {
		case []any:
			for _, v := range n {
				look(v)
			}
		case map[string]any:
			if ref, ok := n["$ref"].(string); ok {
				if found, _ := c.at(strings.TrimPrefix(ref, "#")); found == nil {
					t.Errorf("%s leads nowhere", ref)
				}
			}
			for _, v := range n {
				look(v)
			}
		}
	}
	look(any(c.document))
	if version := c.document["openapi"]; version != "3.1.0" {
		t.Errorf("the description is of OpenAPI %v, want 3.1.0", version)
	}
}
