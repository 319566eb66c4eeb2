package brokerclient

import (
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/credentialtest"
)

const bearer = "identity-0123456789"

var (
	_ credential.Source = (*Source)(nil)
	_ credential.Keyer  = (*Source)(nil)

	widgets = credential.Request{Protocol: "https", Host: "github.com", Path: "Acme/Widgets.git", Operation: "read"}
)

func open(t *testing.T, raw string) *Source {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(u, "sb-1")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// serve starts a TLS broker and returns the source for it.
func serve(t *testing.T, h http.Handler) (s *Source, server *httptest.Server) {
	t.Helper()
	server = quiet(h)
	server.StartTLS()
	t.Cleanup(server.Close)
	return open(t, sourceURL(t, server, writeFile(t, "identity", bearer+"\n"))), server
}

// quiet is a server that does not log the handshakes that a test makes fail.
func quiet(h http.Handler) *httptest.Server {
	server := httptest.NewUnstartedServer(h)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	return server
}

func sourceURL(t *testing.T, server *httptest.Server, identityFile string) string {
	ca := writeFile(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	return "broker+" + server.URL + "/base/?" + url.Values{"identity_file": {identityFile}, "ca_file": {ca}}.Encode()
}

// under serves a broker below the base path of sourceURL.
func under(b *credentialtest.Broker) http.Handler { return http.StripPrefix("/base", b) }

func TestToken(t *testing.T) {
	b := &credentialtest.Broker{Identities: map[string]string{bearer: "sb-1"}}
	s, _ := serve(t, under(b))
	token, err := s.Token(t.Context(), widgets)
	if err != nil {
		t.Fatal(err)
	}
	if token.Secret() != credentialtest.Secret(1) || token.Login() != "x-access-token" || time.Until(token.Expiry) < 59*time.Minute {
		t.Errorf("Token = %q for %s until %v", token.Secret(), token.Login(), token.Expiry)
	}
	if !slices.Equal(token.Repositories, []string{"acme/widgets"}) || !maps.Equal(token.Permissions, map[string]string{"contents": "read"}) {
		t.Errorf("Token opens %v with %v", token.Repositories, token.Permissions)
	}
	want := api.TokenRequest{Host: "github.com", Repo: api.Repo{Owner: "acme", Name: "widgets"}, Operation: "read"}
	if got := b.Requests(); len(got) != 1 || !reflect.DeepEqual(got[0], want) || len(b.Invalid()) != 0 {
		t.Errorf("the broker saw %v, invalid %v, want %v", got, b.Invalid(), want)
	}
}

func TestRequestOfAnUnknownOperationIsAWrite(t *testing.T) {
	b := &credentialtest.Broker{}
	s, _ := serve(t, under(b))
	req := widgets
	req.Operation = ""
	if _, err := s.Token(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	if got := b.Requests()[0].Operation; got != api.Write {
		t.Errorf("operation = %q, want write", got)
	}
}

func TestTokenNeedsARepository(t *testing.T) {
	b := &credentialtest.Broker{}
	s, _ := serve(t, under(b))
	for _, c := range []struct{ name, path, operation, want string }{
		{"no path", "", "", "credential.useHttpPath"},
		{"not owner/name", "acme/../x", "", "not owner/repository"},
		{"an operation of its own", "acme/widgets", "admin", `"operation" must be`},
	} {
		_, err := s.Token(t.Context(), credential.Request{Protocol: "https", Host: "github.com", Path: c.path, Operation: c.operation})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Token = %v, want an error with %q", c.name, err, c.want)
		}
	}
	if b.Calls() != 0 {
		t.Errorf("the broker was asked %d times, want never", b.Calls())
	}
}

func TestKey(t *testing.T) {
	s := open(t, "broker+https://broker.example")
	if got, want := s.Key(widgets), "github.com acme/widgets read"; got != want {
		t.Errorf("Key = %q, want %q", got, want)
	}
	other := widgets
	other.Operation = ""
	if s.Key(other) == s.Key(widgets) {
		t.Error("a read and a write share a key")
	}
	if s.Key(credential.Request{Host: "a"}) == s.Key(credential.Request{Host: "b"}) {
		t.Error("requests without a path share a key")
	}
}

func TestIdentityIsReadForEveryCall(t *testing.T) {
	b := &credentialtest.Broker{Identities: map[string]string{"second": "sb-1"}}
	server := httptest.NewTLSServer(under(b))
	defer server.Close()
	t.Setenv(IdentityVariable, "second")
	path := writeFile(t, "identity", "first")
	s := open(t, sourceURL(t, server, path))
	if _, err := s.Token(t.Context(), widgets); err == nil || !strings.Contains(err.Error(), "check the identity in "+path) {
		t.Errorf("Token with the first identity = %v, want a refusal that names %s", err, path)
	}
	if err := os.WriteFile(path, []byte("second\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Token(t.Context(), widgets); err != nil {
		t.Errorf("Token with the second identity = %v, want a token", err)
	}
}

func TestIdentityOfTheEnvironment(t *testing.T) {
	b := &credentialtest.Broker{Identities: map[string]string{bearer: "sb-1"}}
	s, _ := serve(t, under(b))
	s.identity = identity{}
	t.Setenv(IdentityVariable, bearer)
	if _, err := s.Token(t.Context(), widgets); err != nil {
		t.Errorf("Token with %s = %v, want a token", IdentityVariable, err)
	}
	t.Setenv(IdentityVariable, "")
	if _, err := s.Token(t.Context(), widgets); err == nil || !strings.Contains(err.Error(), "no identity; add identity_file=PATH") {
		t.Errorf("Token without an identity = %v, want an error that says how to give one", err)
	}
}

func TestBadIdentityFiles(t *testing.T) {
	b := &credentialtest.Broker{}
	s, _ := serve(t, under(b))
	t.Setenv(IdentityVariable, bearer) // never used instead
	for _, c := range []struct{ name, path, want string }{
		{"none", filepath.Join(t.TempDir(), "none"), "no such file"},
		{"empty", writeFile(t, "i", ""), "it is not a bearer token: it is empty, has spaces or control characters, or is over 8 KiB"},
		{"two lines", writeFile(t, "i", bearer+"\nX-Admin: yes"), "it is not a bearer token: it is empty, has spaces or control characters, or is over 8 KiB"},
		{"too long", writeFile(t, "i", strings.Repeat("a", 8<<10+1)), "it is not a bearer token: it is empty, has spaces or control characters, or is over 8 KiB"},
		{"a directory", t.TempDir(), "cannot be read"},
	} {
		s.identity = identity{file: c.path}
		_, err := s.Token(t.Context(), widgets)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), bearer) {
			t.Errorf("%s: Token = %v, want an error with %q", c.name, err, c.want)
		}
	}
	if b.Calls() != 0 {
		t.Errorf("the broker was asked %d times, want never", b.Calls())
	}
}

// respond is a broker that always gives the same answer.
func respond(status int, contentType, body string, headers ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", contentType)
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

func TestAnswersThatAreRefused(t *testing.T) {
	secret := credentialtest.Secret(1)
	later := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	answer := func(token, expiry, rest string) string {
		return `{"username":"x-access-token","token":"` + token + `","expires_at":"` + expiry + `"` + rest + `}`
	}
	problem := func(detail string) string { return `{"title":"Forbidden","status":403,"detail":"` + detail + `"}` }
	for _, c := range []struct {
		name    string
		handler http.Handler
		want    string
	}{
		{"a web page", respond(200, "text/html", "<html>"), "its answer is not JSON; check that source"},
		{"broken JSON", respond(200, "application/json", answer(secret, later, "")[:60]), "not the JSON of a token"},
		{"no token", respond(200, "application/json", `{}`), "no token or no expires_at"},
		{"a word for nothing", respond(200, "application/json", answer("null", later, "")), "it is a word for an empty value, such as null"},
		{"a token with a line break", respond(200, "application/json", answer(secret+`\nhost=evil.example`, later, "")), "control characters"},
		{"no expiry", respond(200, "application/json", `{"token":"`+secret+`"}`), "no token or no expires_at"},
		{"an expiry in the past", respond(200, "application/json", answer(secret, "2020-01-01T00:00:00Z", "")), "expired at 2020-01-01T00:00:00Z; compare the clocks"},
		{"another repository", respond(200, "application/json", answer(secret, later, `,"repositories":["acme/other"]`)), "is not for acme/widgets"},
		{"no repository", respond(200, "application/json", answer(secret, later, `,"repositories":[]`)), "is not for acme/widgets"},
		{"a user name with a line break", respond(200, "application/json", strings.Replace(answer(secret, later, ""), "x-access-token", `a\nb`, 1)), "user name"},
		{"over 64 KiB", respond(200, "application/json", answer(secret, later, strings.Repeat(" ", 64<<10))), "over 64 KiB"},
		{"401", respond(401, "application/problem+json", problem("the identity ran out")), "does not know this workspace: the identity ran out; check the identity in"},
		{"403", respond(403, "application/problem+json", problem("profile agent does not allow acme/widgets")), "refuses read for acme/widgets: profile agent does not allow acme/widgets"},
		{"403 that drives the terminal", respond(403, "application/problem+json", problem(`no\n\u001b[2Jgatepass: all is well`)), `: no\n\x1b[2Jgatepass: all is well;`},
		{"403 without end", respond(403, "application/problem+json", problem(strings.Repeat("nono ", 1000))), "nono ...; ask"},
		{"403 with a token", respond(403, "application/problem+json", problem("token "+secret)), "token [redacted]"},
		{"403 of a proxy", respond(403, "text/html", "<html>"), "refuses read for acme/widgets; ask"},
		{"400", respond(400, "application/problem+json", problem("unknown key")), "does not accept the request for acme/widgets (400): unknown key"},
		{"413", respond(413, "application/problem+json", ""), "does not accept the request for acme/widgets (413);"},
		{"404", respond(404, "text/plain", "not found"), "answered 404; check that source"},
		{"a redirect to the same host", respond(308, "text/plain", "", "Location", "/v2/token"), "redirects to /v2/token"},
		{"a redirect elsewhere", respond(307, "text/plain", "", "Location", "https://u:p@evil.example/"), "redirects to https://[redacted]@evil.example/"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _ := serve(t, c.handler)
			token, err := s.Token(t.Context(), widgets)
			if err == nil || !token.IsZero() || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("Token = %v, %v, want an error with %q", token, err, c.want)
			}
			if text := err.Error(); strings.Contains(text, secret) || strings.Contains(text, bearer) || len(text) > 1000 {
				t.Errorf("the error %q holds a secret or is too long", text)
			}
		})
	}
}

func TestHostThatIsNotServed(t *testing.T) {
	s, _ := serve(t, under(&credentialtest.Broker{Hosts: []string{"ghe.example"}}))
	if _, err := s.Token(t.Context(), widgets); !errors.Is(err, credential.ErrNoCredential) {
		t.Errorf("Token = %v, want ErrNoCredential", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	notPEM := writeFile(t, "ca.pem", "x")
	for _, c := range []struct{ name, url, want string }{
		{"plain http", "broker+http://broker.example", "scheme is not"},
		{"no host", "broker+https:///v1", "it has no host"},
		{"a port alone", "broker+https://:8443", "it has no host"},
		{"a password", "broker+https://me:secret@broker.example", "a broker's URL must not have a user, password or fragment"},
		{"a fragment", "broker+https://broker.example#x", "fragment"},
		{"an unknown key", "broker+https://broker.example?identity=x", "unknown key identity; known: identity_file, ca_file"},
		{"a key twice", "broker+https://broker.example?ca_file=a&ca_file=b", "given twice"},
		{"an empty key", "broker+https://broker.example?identity_file=", "is empty"},
		{"a placeholder in the address", "broker+https://broker.example/{owner}", "a broker's address must not have placeholders"},
		{"a request's placeholder in the identity", "broker+https://broker.example?identity_file=/run/{owner}", "only {workspace}"},
		{"no such ca_file", "broker+https://broker.example?ca_file=/does/not/exist", "no such file"},
		{"a ca_file without certificates", "broker+https://broker.example?ca_file=" + notPEM, "no certificate"},
		{"a socket with a host", "broker+unix://run/broker.sock", "three slashes"},
		{"a socket without a path", "broker+unix://", "three slashes"},
		{"a socket with ca_file", "broker+unix:///run/b.sock?ca_file=x", "unknown key ca_file"},
		{"an owner by name", "broker+unix:///run/b.sock?owner=root", "owner must be a numeric user ID"},
	} {
		t.Run(c.name, func(t *testing.T) {
			u, err := url.Parse(c.url)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Open(u, "sb-1")
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("Open(%s) = %v, want an error with %q", c.url, err, c.want)
			}
		})
	}
}

func TestWorkspaceInPaths(t *testing.T) {
	s := open(t, "broker+https://broker.example?identity_file=/run/{workspace}/identity")
	if got, want := s.identity.(identity).file, "/run/sb-1/identity"; got != want {
		t.Errorf("identity_file = %q, want %q", got, want)
	}
	if got, want := s.base, "https://broker.example"; got != want {
		t.Errorf("base = %q, want %q", got, want)
	}
}

func TestProxyIsForHTTPSOnly(t *testing.T) {
	https := open(t, "broker+https://broker.example").client.Transport.(*http.Transport)
	unix := open(t, "broker+unix:///run/b.sock").client.Transport.(*http.Transport)
	if https.Proxy == nil || unix.Proxy != nil {
		t.Error("want a proxy for https and none for a socket")
	}
}
