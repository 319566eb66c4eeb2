package mint

import (
	"encoding/json"
	"strings"
	"testing"
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
		{"the zero Manifest", func(m *Manifest) { *m = Manifest{} }, "no permissions are decided"},
		{"every permission", func(m *Manifest) { m.Permissions = AllPermissions() }, "each permission by name"},
		{"an unknown level", func(m *Manifest) { m.Permissions = contents("all") }, `level "all"`},
		{"no homepage", func(m *Manifest) { m.Homepage = "" }, "homepage is"},
		{"a homepage that is a script", func(m *Manifest) { m.Homepage = "javascript:alert(1)" }, "want https://"},
		{"a redirect to nowhere", func(m *Manifest) { m.RedirectURL = "/callback" }, "redirect URL is"},
		{"a name of blanks", func(m *Manifest) { m.Name = "  " }, "is no name"},
		{"a name of two lines", func(m *Manifest) { m.Name = "a\nb" }, "is no name"},
		{"a long name", func(m *Manifest) { m.Name = strings.Repeat("é", 35) }, "35 characters; GitHub takes up to 34"},
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
