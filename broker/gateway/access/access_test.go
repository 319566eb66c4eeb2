package access

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"testing"

	"github.com/gatepass/gatepass/workspace/profile"
)

// The token for GitHub's API has the profile's permissions, but cannot move a ref.
func TestPermissions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		permissions      string
		read, write, api string
	}{
		{"[clone, push]", "map[contents:read]", "map[contents:write]", "map[contents:read]"},
		{"[clone, push, workflow]", "map[contents:read]", "map[contents:write workflows:write]", "map[contents:read]"},
		{"{contents: write, issues: write, pull_requests: read}", "map[contents:read]", "map[contents:write]", "map[contents:read issues:write pull_requests:read]"},
		{"{contents: write, administration: write, merge_queues: write, workflows: write}", "map[contents:read]", "map[contents:write workflows:write]", "map[contents:read]"},
		{"{issues: write}", "map[contents:read]", "map[contents:write]", "map[issues:write]"},
	} {
		p, err := profile.Parse([]byte("spec: {sourceAccess: {github: {allowedRepos: [a/b], permissions: " + c.permissions + "}}}"))
		if err != nil {
			t.Fatal(err)
		}
		got := []string{fmt.Sprint(permissionsFor(p, Read)), fmt.Sprint(permissionsFor(p, Write)), fmt.Sprint(permissionsFor(p, API))}
		if want := []string{c.read, c.write, c.api}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: tokens have %v, want %v", c.permissions, got, want)
		}
	}
}

func TestOrigin(t *testing.T) {
	for _, test := range []struct {
		host, want string
		isTLS      bool
	}{
		{"broker.example", "https://broker.example", true},
		{"broker.example:8443", "https://broker.example:8443", true},
		{"broker.example", "https://broker.example", false},
		{"127.0.0.1:8080", "http://127.0.0.1:8080", false},
		{"localhost:8080", "http://localhost:8080", false},
		{"[::1]:8080", "http://[::1]:8080", false},
		{"127.0.0.1:8080", "https://127.0.0.1:8080", true},
		{"127.evil.example", "https://127.evil.example", false},
		{"a b", "", false},
		{"x/y", "", false},
		{"", "", false},
	} {
		r := &http.Request{Host: test.host}
		if test.isTLS {
			r.TLS = new(tls.ConnectionState)
		}
		if got, ok := Origin(r); got != test.want || ok != (test.want != "") {
			t.Errorf("Origin of %q (TLS %t) = %q, %t, want %q", test.host, test.isTLS, got, ok, test.want)
		}
	}
}

// A malicious resolver must not send a token into a private network.
func TestOnlyPublic(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"140.82.121.4:443": true, "[2606:50c0:8000::64]:443": true,
		"127.0.0.1:443": false, "10.0.0.1:443": false, "172.16.0.1:443": false, "192.168.1.1:443": false, "169.254.169.254:80": false, "100.64.0.1:443": false,
		"0.0.0.0:443": false, "224.0.0.1:443": false, "[::1]:443": false, "[fe80::1]:443": false, "[fd00::1]:443": false, "[::ffff:10.0.0.1]:443": false, "github.com:443": false,
	} {
		if err := onlyPublic("tcp", address, nil); (err == nil) != want {
			t.Errorf("onlyPublic(%s) = %v, want it public: %v", address, err, want)
		}
	}
	for github, want := range map[string]bool{"https://github.com": true, "https://acme.ghe.com": true, "https://github.example": false, "https://notgithub.com": false} {
		u, err := NewUpstream(github)
		if err != nil || isPublic(u.Git.Hostname()) != want {
			t.Errorf("%s: %v, want it public: %v", github, err, want)
		}
	}
}
