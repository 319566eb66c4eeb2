package apps

import (
	"strings"
	"testing"

	"github.com/gatepass/gatepass/mint"
)

// What "flux create secret githubapp" writes, and what others make of it.
func TestWhatASecretSaysOfAnApp(t *testing.T) {
	type data = map[string]string
	for _, c := range []struct {
		name   string
		of     basics // what the App says
		secret data
		want   basics
		err    string
	}{
		{"all of it", basics{}, data{fluxApp: "12345", fluxInstallation: "678", fluxURL: "https://ghes.example/api/v3"}, basics{"12345", 678, "https://ghes.example"}, ""},
		{"with a line's end", basics{}, data{fluxApp: "12345\n", fluxInstallation: " 678\n"}, basics{"12345", 678, ""}, ""},
		{"a client ID", basics{}, data{fluxApp: "Iv23liAbC"}, basics{"Iv23liAbC", 0, ""}, ""},
		{"the App says it", basics{"1", 2, "https://a.example"}, data{fluxApp: "x y", fluxInstallation: "x", fluxURL: "x"}, basics{"1", 2, "https://a.example"}, ""},
		{"nothing", basics{}, nil, basics{}, ""},
		{"github.com's API", basics{}, data{fluxURL: "https://api.github.com/"}, basics{github: "https://github.com"}, ""},
		{"a data residency's API", basics{}, data{fluxURL: "https://api.acme.ghe.com"}, basics{github: "https://acme.ghe.com"}, ""},
		{"a server called api", basics{}, data{fluxURL: "https://api.acme.example/api/v3/"}, basics{github: "https://api.acme.example"}, ""},
		{"no id", basics{}, data{fluxApp: "../../apps"}, basics{}, "githubAppID of it is not the ID of a GitHub App; write its App ID or client ID"},
		{"a long id", basics{}, data{fluxApp: strings.Repeat("1", 101)}, basics{}, "githubAppID of it is not the ID"},
		{"no installation", basics{}, data{fluxInstallation: "-1"}, basics{}, "githubAppInstallationID of it is not the ID of an installation; write its number"},
		{"no https", basics{}, data{fluxURL: "http://ghes.example"}, basics{}, "githubAppBaseURL of it: want https://HOST"},
		{"a password", basics{}, data{fluxURL: "https://x:hunter2@ghes.example"}, basics{}, "githubAppBaseURL of it: want https://HOST"},
		{"a path", basics{}, data{fluxURL: "https://ghes.example/proxy"}, basics{}, "githubAppBaseURL of it: want https://HOST without a path"},
	} {
		raw := map[string][]byte{}
		for key, value := range c.secret {
			raw[key] = []byte(value)
		}
		m := material{basics: c.of}
		err := m.flux(raw, "it")
		if c.err == "" && (err != nil || m.basics != c.want) {
			t.Errorf("%s: %+v, %v, want %+v", c.name, m.basics, err, c.want)
		}
		if c.err != "" && (err == nil || !strings.HasPrefix(err.Error(), c.err) || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%s: %v, want %q", c.name, err, c.err)
		}
	}
}

func TestWhichKeyOfASecret(t *testing.T) {
	one, other := []byte("one"), []byte("other")
	for _, c := range []struct {
		name  string
		data  map[string][]byte
		named string
		want  string
	}{
		{"the default", map[string][]byte{keyPEM: one, fluxPEM: other}, "", "one"},
		{"that of Flux", map[string][]byte{fluxPEM: other}, "", "other"},
		{"the one that is named", map[string][]byte{keyPEM: one, "x": other}, "x", "other"},
		{"no other than the one that is named", map[string][]byte{keyPEM: one}, "x", ""},
		{"none", map[string][]byte{"x": one}, "", ""},
	} {
		if _, text := pemOf(c.data, c.named); string(text) != c.want {
			t.Errorf("%s: %q, want %q", c.name, text, c.want)
		}
	}
}

// The address of a Secret or an App is one of a GitHub, or none at all.
func FuzzWebURL(f *testing.F) {
	for _, s := range []string{"https://ghes.example/api/v3", "https://api.github.com", "https://api.acme.ghe.com/", "https://x@h", "https://h/api/v3/api/v3", "https://h?x", "//h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		api, err := mint.APIURL(webURL(text))
		if err == nil && !strings.HasPrefix(api, "https://") {
			t.Errorf("webURL(%q) leads to %s", text, api)
		}
	})
}
