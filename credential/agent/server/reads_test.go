package server

import (
	"net/url"
	"testing"

	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/credential/agent"
)

func TestWhatASourceReads(t *testing.T) {
	for _, c := range []struct {
		source, cache string
		needsAgent    bool
		want          string
	}{
		{source: "file:///x"},
		{source: "keyring://a/b", want: agent.ReadsKeyring},
		{source: "keyring://a/b", cache: config.CacheKeyring, want: agent.ReadsKeyring},
		{source: "vault://secret/x", want: agent.ReadsHome + agent.ReadsNetwork + agent.ReadsVault},
		{source: "ssm:///x", want: agent.ReadsHome + agent.ReadsNetwork + agent.ReadsAWS},
		{source: "ssm:///x", cache: config.CacheKeyring, want: agent.ReadsHome + agent.ReadsNetwork + agent.ReadsAWS + agent.ReadsKeyring},
		{source: "broker+https://b?identity_file=/x", want: agent.ReadsIdentity + agent.ReadsNetwork},
		{source: "broker+https://b?auth=aws", want: agent.ReadsIdentity + agent.ReadsHome + agent.ReadsNetwork + agent.ReadsAWS},
		// A join token can be used once, so a second agent would get no session.
		{source: "broker+https://b?join_token_file=/x", needsAgent: true},
		{source: "new://x", want: agent.ReadsIdentity + agent.ReadsHome + agent.ReadsNetwork + agent.ReadsAWS},
	} {
		u, err := url.Parse(c.source)
		if err != nil {
			t.Fatal(err)
		}
		p := &pipeline{workspace: &config.Workspace{Source: u, Cache: c.cache}, needsAgent: c.needsAgent}
		if got := p.reads(); got != c.want {
			t.Errorf("%s, cache %q: reads %q, want %q", c.source, c.cache, got, c.want)
		}
	}
}
