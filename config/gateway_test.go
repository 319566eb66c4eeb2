package config

import (
	"strings"
	"testing"
)

func TestParseGateway(t *testing.T) {
	for text, want := range map[string]string{
		"https://broker.example":      "https://broker.example",
		"https://Broker.Example/":     "https://broker.example",
		"https://broker.example:443":  "https://broker.example",
		"https://broker.example:8443": "https://broker.example:8443",
		"https://10.0.0.9":            "https://10.0.0.9",
		"https://[::1]:8443":          "https://[::1]:8443",
		"http://127.0.0.1:8080":       "http://127.0.0.1:8080",
		"http://127.8.9.10":           "http://127.8.9.10",
		"http://[::1]:8080":           "http://[::1]:8080",
	} {
		if got, err := ParseGateway(text); err != nil || got.String() != want || got.Scheme()+"://"+got.Host() != want {
			t.Errorf("ParseGateway(%q) = %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "broker.example", "https://", "https:///", "HTTPS://broker.example", "ssh://broker.example", "broker+https://broker.example",
		"https://broker.example/git", "https://broker.example//", "https://broker.example?x", "https://broker.example#x", "https://*.example",
		"https://me:hunter2@broker.example", "https://me@broker.example", "https://broker.example:0", "https://broker.example:", "https://broker .example",
		"http://broker.example", "http://10.0.0.9:8080", "http://localhost:8080", "http://127.0.0.1.example", "http://127.1", "http://0x7f.0.0.1", "http://0.0.0.0:8080",
		"http://127.0.0.1:443", "http://[::2]:8080", "http://[::]:8080",
	} {
		got, err := ParseGateway(text)
		if err == nil || !got.IsZero() || strings.Contains(err.Error(), "hunter2") || !strings.HasPrefix(err.Error(), "gateway") {
			t.Errorf("ParseGateway(%q) = %q, %v, want an error about the gateway", text, got, err)
		}
	}
}

func TestParseReadsTheGateway(t *testing.T) {
	for _, source := range []string{"", "source: broker+https://broker.example?identity_file=/x\n", "source: broker+unix:///run/b.sock\n"} {
		w, err := Parse([]byte(source + "gateway: https://broker.example:8443\n"))
		if err != nil || w.Gateway.String() != "https://broker.example:8443" {
			t.Errorf("Parse with %q = %v, want the gateway", source, err)
		}
	}
	if w, err := Parse([]byte("source: ssm:///x\n")); err != nil || !w.Gateway.IsZero() {
		t.Errorf("Parse without gateway = %v, want none", err)
	}
	for _, c := range []struct{ name, text, want string }{
		// A user who wrote the key meant that no token is here.
		{"left empty", "gateway:\n", "line 1 column 1: gateway must be the broker's address"},
		{"an empty text", "gateway: ''\n", "want https://HOST"},
		{"a list", "gateway: [https://broker.example]\n", "gateway must be the broker's address, https://HOST[:PORT]; leave it out to use none"},
		{"with a path", "gateway: https://broker.example/git\n", "without path"},
		{"in the open", "gateway: http://broker.example\n", "http is only for a loopback address such as http://127.0.0.1:8080; write https"},
		{"with a password", "gateway: https://me:hunter2@broker.example\n", "gateway: it must not have a user or password; gatepass sends sessions"},
		{"one of the hosts", "gateway: https://GitHub.com\n", "remove it from hosts"},
		{"a source of tokens", "source: ssm:///x\ngateway: https://broker.example\n", "write source: broker+https://"},
		{"a file of tokens", "source: file:///x\ngateway: https://broker.example\n", "write source: broker+https://"},
		{"strict and in the open", "strict: true\ngateway: http://127.0.0.1:8080\n", "write an https gateway"},
		{"sessions on the disk", "cache: keyring\ngateway: https://broker.example\n", "in memory only"},
	} {
		if w, err := Parse([]byte(c.text)); err == nil || w != nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: Parse = %v, want an error with %q", c.name, err, c.want)
		}
	}
}

func TestGatewayBasesAndBack(t *testing.T) {
	g, err := ParseGateway("https://broker.example")
	if err != nil {
		t.Fatal(err)
	}
	hosts := []string{"github.com", "git.example:8443"}
	for host, want := range map[string]string{"github.com": "https://broker.example", "git.example:8443": "https://broker.example/git/git.example:8443"} {
		if got := g.Base(host, hosts); got != want {
			t.Errorf("Base(%s) = %s, want %s", host, got, want)
		}
	}
	for path, want := range map[string][2]string{
		"acme/widgets.git":                      {"github.com", "acme/widgets.git"},
		"git/github.com/acme/widgets":           {"github.com", "acme/widgets"},
		"git/git.example:8443/acme/widgets.git": {"git.example:8443", "acme/widgets.git"},
		"git/git.git":                           {"github.com", "git/git.git"}, // the owner git
		"git/other.example/acme/widgets":        {"github.com", "git/other.example/acme/widgets"},
		"":                                      {"github.com", ""},
	} {
		if host, repository := g.Repository(path, hosts); host != want[0] || repository != want[1] {
			t.Errorf("Repository(%s) = %s, %s, want %s", path, host, repository, want)
		}
	}
}

// What is accepted uses TLS or stays on this machine, and is the same when it is parsed
// again.
func FuzzParseGateway(f *testing.F) {
	f.Add("https://broker.example:8443/")
	f.Add("http://[::1]:8080")
	f.Fuzz(func(t *testing.T, text string) {
		g, err := ParseGateway(text)
		if err != nil {
			return
		}
		if again, err := ParseGateway(g.String()); err != nil || again != g || strings.ContainsAny(g.Host(), "/@?#\\ %") {
			t.Errorf("ParseGateway(%q) = %q, and of that %q, %v", text, g, again, err)
		}
		if !strings.HasPrefix(g.String(), "https://") && !strings.HasPrefix(g.String(), "http://127.") && !strings.HasPrefix(g.String(), "http://[") {
			t.Errorf("ParseGateway(%q) = %q, want no http to another machine", text, g)
		}
	})
}

func TestThroughAGatewayThatTheFileDoesNotName(t *testing.T) {
	g, err := ParseGateway("https://broker.example")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"source: broker+unix:///b.sock\n":                                   "",
		"source: broker+unix:///b.sock\ngateway: https://broker.example/\n": "",
		"source: broker+unix:///b.sock\ngateway: https://other.example\n":   `git is configured for "https://broker.example"`,
		"source: ssm:///x\n": "write source: broker+https://",
		"source: broker+unix:///b.sock\nhosts: [broker.example]\n": "remove it from hosts",
		"source: broker+unix:///b.sock\ncache: keyring\n":          "in memory only",
	} {
		w, err := Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		through, err := w.Through(g)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) || err == nil && through.Gateway != g {
			t.Errorf("Through of %q = %v, want %q", text, err, want)
		}
	}
}
