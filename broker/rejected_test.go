package broker_test

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/revoke"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/brokertest"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// asked returns how often GitHub was asked whether it accepts a token.
func asked(g *brokertest.GitHub) int {
	return g.Count(func(r fakegithub.Request) bool { return strings.HasSuffix(r.Path, "/rate_limit") })
}

// inCache returns the one token that a replica has in memory.
func inCache(t *testing.T, b *brokertest.Broker) (token credential.Token) {
	t.Helper()
	b.Cache.Live(func(_ broker.Scope, held credential.Token) { token = held })
	if token.IsZero() {
		t.Fatal("the cache is empty")
	}
	return token
}

// A token that was revoked at GitHub stayed in the cache, and replicas got it from each
// other, until it would have expired.
func TestARevokedTokenIsDroppedForAllSharers(t *testing.T) {
	g := brokertest.NewGitHub(t)
	one, other := brokertest.NewBroker(g, nil), brokertest.NewBroker(g, nil)
	first := one.MustToken("sb-1", "acme/widgets", "read")
	if got := other.MustToken("sb-2", "acme/widgets", "read"); got != first {
		t.Fatal("the replicas do not share the token")
	}
	other.Blocklist.OnAdded = func(added store.Blocks) {
		other.Cache.Drop(func(_ broker.Scope, held credential.Token) bool { return revoke.IsMarked(added, held) })
	}
	g.Advance(2 * time.Minute)
	g.Revoke(first)
	dead := inCache(t, one)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if !one.Server.Rejected(t.Context(), dead) {
				t.Error("Rejected = false, want true: GitHub revoked the token")
			}
		})
	}
	all.Wait()
	if n := asked(g); n != 1 {
		t.Errorf("GitHub was asked %d times about the token, want once", n)
	}
	g.Advance(2 * time.Second) // the other replica reads the block list
	second := one.MustToken("sb-1", "acme/widgets", "read")
	if second == first || other.MustToken("sb-2", "acme/widgets", "read") != second {
		t.Error("a replica still gives the revoked token, or the replicas share no new one")
	}
	entries := one.Journal.Of(broker.KindRevoked)
	if len(entries) != 1 || entries[0].Hash != dead.Hash() || entries[0].Repository != "acme/widgets" || entries[0].Detail == "" {
		t.Errorf("the audit log has %+v, want the token", entries)
	}
}

// A workspace that makes GitHub answer 401, or whose token is new, ends no token and
// causes few questions.
func TestATokenThatGitHubAcceptsIsKept(t *testing.T) {
	g := brokertest.NewGitHub(t)
	b := brokertest.NewBroker(g, nil)
	text := b.MustToken("ci", "acme/widgets", "write")
	token := inCache(t, b)
	g.Revoke(text)
	if b.Server.Rejected(t.Context(), token) || asked(g) != 0 {
		t.Errorf("a token that GitHub may not know yet: GitHub was asked %d times", asked(g))
	}
	text = b.MustToken("ci", "octo/widgets", "write")
	b.Cache.Drop(func(s broker.Scope, _ credential.Token) bool { return s.Repo.Owner == "acme" })
	token = inCache(t, b)
	g.Advance(2 * time.Minute)
	for range 100 {
		if b.Server.Rejected(t.Context(), token) {
			t.Fatal("Rejected = true, want false: GitHub accepts the token")
		}
	}
	if n := asked(g); n != 1 {
		t.Errorf("GitHub was asked %d times in a minute, want once", n)
	}
	if b.MustToken("ci", "octo/widgets", "write") != text {
		t.Error("the token is not the same any more")
	}
	g.Advance(2 * time.Minute)
	g.Fail(fakegithub.To(http.MethodGet, "/rate_limit"), fakegithub.Status(http.StatusBadGateway), 1)
	if b.Server.Rejected(t.Context(), token) {
		t.Error("Rejected = true, want false: GitHub did not say so")
	}
	g.Advance(2 * time.Minute)
	g.Revoke(text)
	if !b.Server.Rejected(t.Context(), token) || asked(g) != 3 {
		t.Errorf("GitHub was asked %d times, want 3, the last about a dead token", asked(g))
	}
}

// Where the audit log cannot be written, the dead token is dropped all the same.
func TestARevokedTokenIsDroppedWithoutAnAuditLog(t *testing.T) {
	g := brokertest.NewGitHub(t)
	b := brokertest.NewBroker(g, nil)
	first := b.MustToken("ci", "acme/widgets", "write")
	dead := inCache(t, b)
	g.Advance(2 * time.Minute)
	g.Revoke(first)
	b.Journal.Fail(errors.New("no space"))
	if !b.Server.Rejected(t.Context(), dead) {
		t.Error("Rejected = false, want true")
	}
	b.Journal.Fail(nil)
	if b.MustToken("ci", "acme/widgets", "write") == first {
		t.Error("the broker still gives the revoked token")
	}
}
