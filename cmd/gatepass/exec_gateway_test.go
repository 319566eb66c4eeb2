package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/config"
)

func TestWithSession(t *testing.T) {
	g, err := config.ParseGateway("https://broker.example:8443")
	if err != nil {
		t.Fatal(err)
	}
	parent := []string{
		"HOME=/h", "GH_TOKEN=gho_parent", "GITHUB_TOKEN=gho_parent", "GH_ENTERPRISE_TOKEN=gho_parent", "GITHUB_ENTERPRISE_TOKEN=gho_parent", "GH_HOST=elsewhere.example",
		"GH_REPO=other/x", "GITHUB_API_URL=https://api.github.com", "GITHUB_GRAPHQL_URL=x", "GITHUB_SERVER_URL=x", "GITHUB_HOST=x", "NODE_EXTRA_CA_CERTS=/mine",
	}
	want := []string{
		"HOME=/h", "NODE_EXTRA_CA_CERTS=/mine", "GH_HOST=broker.example:8443", "GH_ENTERPRISE_TOKEN=gpg_x", "GITHUB_API_URL=https://broker.example:8443/api/v3",
		"GITHUB_GRAPHQL_URL=https://broker.example:8443/api/graphql", "GITHUB_SERVER_URL=https://broker.example:8443", "GITHUB_HOST=https://broker.example:8443",
		"GH_REPO=acme/widgets", "CARGO_NET_GIT_FETCH_WITH_CLI=true", "SSL_CERT_FILE=/bundle.pem",
	}
	if got := withSession(parent, g, "acme/widgets", "gpg_x", "/ca.pem", "/bundle.pem"); !slices.Equal(got, want) {
		t.Errorf("withSession = %q, want %q", got, want)
	}
	got := withSession([]string{"CARGO_NET_GIT_FETCH_WITH_CLI=false"}, g, "", "gpg_x", "", "")
	if !slices.Contains(got, "CARGO_NET_GIT_FETCH_WITH_CLI=false") || slices.Contains(got, "GH_REPO=") || slices.Contains(got, "SSL_CERT_FILE=") || len(got) != 7 {
		t.Errorf("withSession = %q, want what was set to stay, and nothing without a repository and authorities", got)
	}
}

// SSL_CERT_FILE replaces the system's authorities: a command with the gateway's alone
// could reach no other host by TLS.
func TestBundle(t *testing.T) {
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, []byte("the gateway's"), 0o644); err != nil {
		t.Fatal(err)
	}
	system := filepath.Join(dir, "system.pem")
	if err := os.WriteFile(system, []byte("the system's"), 0o644); err != nil {
		t.Fatal(err)
	}
	was := systemAuthorities
	t.Cleanup(func() { systemAuthorities = was })
	systemAuthorities = []string{filepath.Join(dir, "none"), system}
	getenv := func(name string) string { return map[string]string{"XDG_RUNTIME_DIR": dir}[name] }
	first, err := authorityBundle(getenv, ca, "/etc/gatepass/workspace.yaml")
	if text, readErr := os.ReadFile(first); err != nil || readErr != nil || string(text) != "the system's\nthe gateway's" {
		t.Fatalf("bundle = %q with %q, %v, %v, want both", first, text, err, readErr)
	}
	if again, err := authorityBundle(getenv, ca, "/etc/gatepass/workspace.yaml"); err != nil || again != first {
		t.Errorf("bundle = %q, %v, want the same file: %s", again, err, first)
	}
	if err := os.WriteFile(first, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := authorityBundle(getenv, ca, "/etc/gatepass/workspace.yaml"); err != nil {
		t.Error(err)
	}
	if text, _ := os.ReadFile(first); !strings.HasSuffix(string(text), "the gateway's") {
		t.Errorf("a bundle that was changed is %q, want it mended", text)
	}
	if _, err := authorityBundle(getenv, filepath.Join(dir, "none"), "/etc/gatepass/workspace.yaml"); err == nil || !strings.Contains(err.Error(), "--gateway-ca FILE") {
		t.Errorf("bundle without the gateway's file = %v, want what to do", err)
	}
}
