package main

import (
	"slices"
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
		"GH_REPO=acme/widgets", "CARGO_NET_GIT_FETCH_WITH_CLI=true", "SSL_CERT_FILE=/ca.pem",
	}
	if got := withSession(parent, g, "acme/widgets", "gpg_x", "/ca.pem"); !slices.Equal(got, want) {
		t.Errorf("withSession = %q, want %q", got, want)
	}
	got := withSession([]string{"CARGO_NET_GIT_FETCH_WITH_CLI=false"}, g, "", "gpg_x", "")
	if !slices.Contains(got, "CARGO_NET_GIT_FETCH_WITH_CLI=false") || slices.Contains(got, "GH_REPO=") || slices.Contains(got, "SSL_CERT_FILE=") || len(got) != 7 {
		t.Errorf("withSession = %q, want what was set to stay, and nothing without a repository and authorities", got)
	}
}
