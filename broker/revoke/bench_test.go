package revoke

import (
	"io"
	"log/slog"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/gatepass/gatepass/broker/blocklist"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/test/brokertest"
)

const webhookSecret = "webhook-secret-0123456789"

// night is the operator of these tests.
var night = Actor{Operator: broker.Operator{Name: "night", Method: "token", Subject: "token sha256:0123"}, RequestID: "1", Remote: "192.0.2.1:1234"}

// bench is a replica that revokes.
type bench struct {
	*brokertest.Broker
	revoker *Revoker
}

func newReplica(g *brokertest.GitHub) *bench {
	g.T.Helper()
	b := &bench{Broker: brokertest.NewBroker(g, nil)}
	b.revoker = New(Config{
		Store: g.Store, App: b.App, Blocklist: b.Blocklist, Cache: b.Cache, Journal: b.Journal, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Policy: func() string { return b.Policy.Hash }, Issuer: b.Issuer, Secret: func() (string, error) { return webhookSecret, nil }, Now: g.Now,
	})
	b.Server.Extra = map[string]broker.Endpoint{WebhookPath: b.revoker.Webhook()}
	return b
}

func newBench(t *testing.T) *bench {
	t.Helper()
	return newReplica(brokertest.NewGitHub(t))
}

// revoke revokes a target, and checks how much is pending.
func (b *bench) revoke(t blocklist.Target, pending int) api.Revocation {
	b.T.Helper()
	got, err := b.revoker.Revoke(b.T.Context(), night, t)
	if err != nil || got.Pending != pending {
		b.T.Fatalf("Revoke(%s) = %+v, %v, want %d pending", t, got, err, pending)
	}
	return got
}

// lift removes a block.
func (b *bench) lift(t blocklist.Target) {
	b.T.Helper()
	if err := b.revoker.Unblock(b.T.Context(), night, t); err != nil {
		b.T.Fatalf("Lift(%s) = %v", t, err)
	}
}

// alive returns the hashes of the tokens that GitHub accepts.
func (b *bench) alive() []string {
	hashes := []string{}
	for _, t := range b.Tokens() {
		hashes = append(hashes, t.Hash)
	}
	slices.Sort(hashes)
	return hashes
}

func wantCode(t testing.TB, what string, got *httptest.ResponseRecorder, want int) {
	t.Helper()
	if got.Code != want {
		t.Errorf("%s: %d %s, want %d", what, got.Code, got.Body, want)
	}
}

func workspaceTarget(id string) blocklist.Target { return blocklist.Target{Workspace: id} }

// clean makes the replica take the lease, and do one round.
func (b *bench) clean() (deleted int) {
	b.T.Helper()
	_, err := b.revoker.Reconcile(b.T.Context())
	if err == nil {
		deleted, err = b.revoker.DeleteExpired(b.T.Context())
	}
	if err != nil || b.revoker.progress.get().Folder != 0 {
		b.T.Fatalf("DeleteExpired = %v, %+v, want a whole round", err, b.revoker.progress.get())
	}
	return deleted
}
