package mint

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/test/fakegithub"
)

func goodManifest() Manifest {
	return Manifest{Name: "Sandbox Pass", Homepage: "https://acme.test", Permissions: contents("write")}
}

func TestManifestIsWhatGitHubReads(t *testing.T) {
	m := goodManifest()
	m.RedirectURL = "http://127.0.0.1:9/callback"
	for _, c := range []struct {
		edit func(*Manifest)
		want string
	}{
		{func(*Manifest) {}, `{"name":"Sandbox Pass","url":"https://acme.test","redirect_url":"http://127.0.0.1:9/callback","public":false,"default_permissions":{"contents":"write"}}`},
		{
			func(m *Manifest) { m.Name, m.RedirectURL, m.Public, m.Description = "", "", true, "Passes" },
			`{"url":"https://acme.test","description":"Passes","public":true,"default_permissions":{"contents":"write"}}`,
		},
	} {
		m := m
		c.edit(&m)
		if got, err := json.Marshal(m); err != nil || string(got) != c.want {
			t.Errorf("Marshal(%+v) = %s, %v, want %s", m, got, err, c.want)
		}
	}
}

func TestManifestIsRefused(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*Manifest)
		want string
	}{
		{"the zero Manifest", func(m *Manifest) { *m = Manifest{} }, "the permissions are not decided, and GitHub would read that as all of them"},
		{"every permission", func(m *Manifest) { m.Permissions = AllPermissions() }, "each permission by name"},
		{"an unknown level", func(m *Manifest) { m.Permissions = contents("all") }, `level "all"`},
		{"no homepage", func(m *Manifest) { m.Homepage = "" }, "homepage is"},
		{"a homepage that is a script", func(m *Manifest) { m.Homepage = "javascript:alert(1)" }, "want https://"},
		{"a redirect to nowhere", func(m *Manifest) { m.RedirectURL = "/callback" }, "redirect URL is"},
		{"a name of blanks", func(m *Manifest) { m.Name = "  " }, "is not a name"},
		{"a name of two lines", func(m *Manifest) { m.Name = "a\nb" }, "is not a name"},
		{"a long name", func(m *Manifest) { m.Name = strings.Repeat("é", 35) }, "35 characters; GitHub accepts up to 34"},
	} {
		m := goodManifest()
		c.edit(&m)
		if err := m.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Validate = %v, want an error with %q", c.name, err, c.want)
		}
		if text, err := json.Marshal(m); err == nil {
			t.Errorf("%s: Marshal = %s, want an error", c.name, text)
		}
	}
	m := goodManifest()
	m.Name = strings.Repeat("é", MaxAppName)
	if err := m.Validate(); err != nil {
		t.Errorf("Validate of a name of %d characters = %v, want nil", MaxAppName, err)
	}
}

func TestSettingsURL(t *testing.T) {
	for _, c := range []struct{ github, org, want string }{
		{DefaultGitHub, "", "https://github.com/settings/apps"},
		{"https://WWW.github.com/", "acme", "https://github.com/organizations/acme/settings/apps"},
		{"https://ghe.example:8443", "Acme-1", "https://ghe.example:8443/organizations/Acme-1/settings/apps"},
		{"https://acme.ghe.com", "", "https://acme.ghe.com/settings/apps"},
		{"http://github.com", "", ""},
		{"https://github.com/x", "", ""},
		{DefaultGitHub, "acme/../x", ""},
		{DefaultGitHub, "acme/x", ""},
		{DefaultGitHub, "a b", ""},
		{DefaultGitHub, "acme?x", ""},
	} {
		got, err := SettingsURL(c.github, c.org)
		if got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("SettingsURL(%q, %q) = %q, %v, want %q", c.github, c.org, got, err, c.want)
		}
	}
}

// made lets GitHub make the App of a manifest, and returns the code.
func (g *github) made(t *testing.T, name string) string {
	t.Helper()
	m := goodManifest()
	m.Name, m.RedirectURL = name, "http://127.0.0.1:9/callback"
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	code, err := g.MakeApp("acme", string(text))
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// anonymous returns the App that asks for a key: one without ID and Signer.
func (g *github) anonymous() *App {
	return &App{URL: g.app.URL, Client: g.app.Client, Now: g.Now}
}

func TestConvertManifest(t *testing.T) {
	g := newGitHub(t)
	code := g.made(t, "Sandbox Pass")
	m, err := g.anonymous().ConvertManifest(t.Context(), code)
	if err != nil {
		t.Fatal(err)
	}
	if m.Slug != "sandbox-pass" || m.Owner.Login != "acme" || !maps.Equal(m.Permissions, map[string]string{"contents": "write", "metadata": "read"}) {
		t.Errorf("ConvertManifest = %+v, want the App of acme that may write contents", m)
	}
	for _, text := range []string{fmt.Sprint(m), fmt.Sprintf("%+v %#v %q", m, m, m.PrivateKey), mustJSON(t, m)} {
		if strings.Contains(text, "RSA") || !strings.Contains(text, "[secret]") {
			t.Errorf("the answer prints as %s, want a placeholder for its key", text)
		}
	}
	key, err := ParseKey([]byte(m.PrivateKey.Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	app := &App{ID: m.Issuer(), Signer: key, URL: g.app.URL, Client: g.app.Client, Now: g.Now}
	if self, err := app.Self(t.Context()); err != nil || self.ID != m.ID {
		t.Errorf("Self with the new key = %+v, %v, want the new App", self, err)
	}
	if g.Count(func(r fakegithub.Request) bool { return strings.HasSuffix(r.Path, "/conversions") && r.Auth != "" }) != 0 {
		t.Error("the code was shown together with a credential, want it alone")
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestIssuerOfAnAppWithoutClientID(t *testing.T) {
	if got := (NewApp{Registration: Registration{ID: 7}}).Issuer(); got != "7" {
		t.Errorf("Issuer = %q, want the App ID", got)
	}
}

func TestConvertManifestFails(t *testing.T) {
	g := newGitHub(t)
	to := fakegithub.To(http.MethodPost, "/conversions")
	used, late := g.made(t, "used"), g.made(t, "late")
	if _, err := g.anonymous().ConvertManifest(t.Context(), used); err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		name    string
		code    string
		fault   *fakegithub.Fault
		advance time.Duration
		kind    Kind
		says    string
	}{
		{name: "used", code: used, kind: CodeSpent, says: "a code works once, within an hour"},
		{name: "made up", code: strings.Repeat("0", 40), kind: CodeSpent},
		{name: "no code", code: "../app", kind: Refused, says: "this is not a code of GitHub"},
		{name: "empty", code: "", kind: Refused},
		{name: "GitHub is down", fault: new(fakegithub.Status(http.StatusBadGateway)), kind: Unavailable, says: "502"},
		{name: "GitHub is busy", fault: new(fakegithub.RateLimited(time.Minute)), kind: RateLimited, says: "wait 1m"},
		{name: "unprocessable", fault: new(fakegithub.Status(http.StatusUnprocessableEntity)), kind: Refused, says: "422"},
		{name: "unauthorized", fault: new(fakegithub.Status(http.StatusUnauthorized)), kind: Refused, says: "401"},
		{name: "reset", fault: new(fakegithub.Reset()), kind: Unavailable},
		{name: "cut off", fault: new(fakegithub.Truncate(500)), kind: Unavailable},
		{name: "an hour late", code: late, advance: 61 * time.Minute, kind: CodeSpent},
	} {
		code := c.code
		if c.fault != nil {
			code = g.made(t, fmt.Sprintf("app %d", i))
			g.Fail(to, *c.fault, 1)
		}
		g.Advance(c.advance)
		m, err := g.anonymous().ConvertManifest(t.Context(), code)
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Kind != c.kind || !strings.Contains(err.Error(), c.says) || code != "" && strings.Contains(err.Error(), code) {
			t.Errorf("%s: ConvertManifest = %v, %v, want kind %d with %q and without the code", c.name, m, err, c.kind, c.says)
		}
	}
}

func TestOnlyALostAnswerSpendsTheCode(t *testing.T) {
	g := newGitHub(t)
	to := fakegithub.To(http.MethodPost, "/conversions")
	for _, c := range []struct {
		name  string
		fault fakegithub.Fault
		again bool
	}{
		{"down", fakegithub.Status(http.StatusBadGateway), true},
		{"cut off", fakegithub.Truncate(500), false},
	} {
		code := g.made(t, c.name)
		g.Fail(to, c.fault, 1)
		_, first := g.anonymous().ConvertManifest(t.Context(), code)
		m, err := g.anonymous().ConvertManifest(t.Context(), code)
		if first == nil || (err == nil) != c.again {
			t.Errorf("%s: ConvertManifest = %v, then %v, %v, want success %v the second time", c.name, first, m, err, c.again)
		}
	}
}

func TestWider(t *testing.T) {
	asked := PermissionLevels(map[string]string{"contents": "write", "issues": "read"})
	for _, c := range []struct {
		granted map[string]string
		want    string
	}{
		{map[string]string{"contents": "write", "metadata": "read"}, ""},
		{map[string]string{"contents": "read"}, ""},
		{map[string]string{"contents": "write", "issues": "write", "checks": "read"}, "checks: read, issues: write"},
		{map[string]string{"metadata": "write"}, "metadata: write"},
	} {
		if got := strings.Join(asked.Wider(c.granted), ", "); got != c.want {
			t.Errorf("Wider(%v) = %q, want %q", c.granted, got, c.want)
		}
	}
}

func FuzzParseMade(f *testing.F) {
	f.Add([]byte(`{"id":7,"client_id":"Iv23li","pem":"-----BEGIN RSA PRIVATE KEY-----","client_secret":"x","webhook_secret":null}`))
	f.Add([]byte(`{"id":7,"pem":null}`))
	f.Add([]byte(`{"pem":"x","PEM":"y"}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := parseNewApp("test", body)
		if err == nil && (m.ID <= 0 || m.PrivateKey.Reveal() == "" || m.Issuer() == "") {
			t.Errorf("parseMade(%q) = %+v, want an App with a key", body, m)
		}
	})
}
