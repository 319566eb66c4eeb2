package oskeyring

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/credential"
)

// an agent is what one process has: memory before the keyring before the source.
func agent(r ring, src credential.Source) *credential.Cache {
	return &credential.Cache{Source: &Cache{Source: src, Scope: "/etc/gatepass/workspace.yaml", ring: r}}
}

func want(t *testing.T, src credential.Source, req credential.Request, token string) credential.Token {
	t.Helper()
	tok, err := src.Token(t.Context(), req)
	if err != nil || tok.Secret() != token {
		t.Fatalf("Token(%s/%s) = %q, %v, want %q", req.Host, req.Path, tok.Secret(), err, token)
	}
	return tok
}

func TestTheNextAgentTakesTheTokenFromTheKeyring(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, src := &memory{}, &issuer{}
		if tok := want(t, agent(r, src), widgets, "tok-1"); tok.Cached() {
			t.Error("Cached() of a token fresh from the source = true, want false")
		}
		next := agent(r, src)
		if tok := want(t, next, widgets, "tok-1"); !tok.Cached() {
			t.Error("Cached() of a token from the keyring = false, want true: it may be stale")
		}
		want(t, next, request("github.com", "acme/other"), "tok-1")
		if src.calls != 1 {
			t.Errorf("the source was asked %d times, want once", src.calls)
		}
		time.Sleep(56 * time.Minute)
		want(t, agent(r, src), widgets, "tok-2")
		want(t, agent(r, src), widgets, "tok-2")
	})
}

func TestMemoryAnswersBeforeTheKeyring(t *testing.T) {
	r := &memory{}
	a := agent(r, &issuer{})
	want(t, a, widgets, "tok-1")
	calls := r.calls
	for range 10 {
		want(t, a, widgets, "tok-1")
	}
	if r.calls != calls {
		t.Errorf("ten warm answers asked the keyring %d times, want never", r.calls-calls)
	}
}

func TestARunningAgentRefreshesFromTheSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, src := &memory{}, &issuer{}
		want(t, agent(r, src), widgets, "tok-1")
		c := &Cache{Source: src, Scope: "/etc/gatepass/workspace.yaml", ring: r}
		want(t, c, widgets, "tok-1")
		want(t, c, widgets, "tok-2") // a caller that asks again wants a fresh one
		want(t, agent(r, src), widgets, "tok-2")
	})
}

// A caller that asks for a fresh token does not get the one of the keyring, which may
// be revoked.
func TestAFreshTokenIsNotTheKeyrings(t *testing.T) {
	r, src := &memory{}, &issuer{}
	want(t, agent(r, src), widgets, "tok-1")
	tok, err := agent(r, src).Token(credential.WithoutCache(t.Context()), widgets)
	if err != nil || tok.Secret() != "tok-2" {
		t.Errorf("Token anew = %q, %v, want tok-2", tok.Secret(), err)
	}
	want(t, agent(r, src), widgets, "tok-2")
}

func TestAnExpiredEntryIsDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, src := &memory{}, &issuer{}
		want(t, agent(r, src), widgets, "tok-1")
		time.Sleep(time.Hour)
		src.fails = true
		if _, err := agent(r, src).Token(t.Context(), widgets); !errors.Is(err, errDown) {
			t.Errorf("Token = %v, want %v", err, errDown)
		}
		if len(r.entries) != 0 {
			t.Errorf("the keyring holds %d entries, want none", len(r.entries))
		}
	})
}

func TestAnOldEntryHelpsOutWhileTheSourceIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, src := &memory{}, &issuer{}
		want(t, agent(r, src), widgets, "tok-1")
		src.fails = true
		time.Sleep(57 * time.Minute)
		want(t, agent(r, src), widgets, "tok-1")
		time.Sleep(2*time.Minute + time.Second)
		if _, err := agent(r, src).Token(t.Context(), widgets); !errors.Is(err, errDown) {
			t.Errorf("Token with less than a minute left = %v, want %v", err, errDown)
		}
	})
}

func TestTokensAreOfOneScopeHostAndKey(t *testing.T) {
	r := &memory{}
	want(t, agent(r, &issuer{name: "a-"}), widgets, "a-tok-1")
	elsewhere := &credential.Cache{Source: &Cache{Source: &issuer{name: "b-"}, Scope: "/home/me/workspace.yaml", ring: r}}
	want(t, elsewhere, widgets, "b-tok-1")
	want(t, agent(r, &issuer{name: "c-"}), request("github.com:8443", "acme/widgets"), "c-tok-1")
	want(t, agent(r, &issuer{name: "d-"}), request("github.com", "other/widgets"), "d-tok-1")
	want(t, agent(r, &issuer{name: "e-"}), request("github.com", "acme/gadgets"), "a-tok-1")
	for it := range r.entries {
		if it.service != "gatepass" || len(it.account) != 64 || strings.Contains(it.account, "acme") {
			t.Errorf("entry %+v, want service gatepass and a hash", it)
		}
	}
}

func TestARejectedTokenLeavesTheKeyring(t *testing.T) {
	for name, reject := range map[string]func(*credential.Cache, credential.Token){
		"by the agent that fetched it": func(c *credential.Cache, tok credential.Token) { c.Reject(widgets, tok.Secret()) },
		"by its print":                 func(c *credential.Cache, tok credential.Token) { c.RejectPrint(widgets, tok.Fingerprint()) },
		"with no path in the request": func(c *credential.Cache, tok credential.Token) {
			c.Reject(request("github.com", ""), tok.Secret())
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, src := &memory{}, &issuer{}
			first := agent(r, src)
			reject(first, want(t, first, widgets, "tok-1"))
			if len(r.entries) != 0 {
				t.Errorf("the keyring holds %d entries, want none", len(r.entries))
			}
			want(t, first, widgets, "tok-2")
			want(t, agent(r, src), widgets, "tok-2")
		})
	}
}

func TestANewAgentIsToldOfARejectedToken(t *testing.T) {
	r, src := &memory{}, &issuer{}
	tok := want(t, agent(r, src), widgets, "tok-1")
	next := agent(r, src)
	next.RejectPrint(widgets, tok.Fingerprint())
	want(t, next, widgets, "tok-2")
}

func TestRejectingAnotherTokenKeepsTheStoredOne(t *testing.T) {
	r, src := &memory{}, &issuer{}
	want(t, agent(r, src), widgets, "tok-1")
	next := agent(r, src)
	next.Reject(widgets, "tok-0")
	want(t, next, widgets, "tok-1")
}

// The source may still have the rejected token.
func TestARejectedTokenIsNotStoredAgain(t *testing.T) {
	r, src := &memory{}, &issuer{}
	c := &Cache{Source: src, ring: r}
	c.Reject(widgets, credential.NewToken("tok-1", time.Time{}).Fingerprint())
	want(t, c, widgets, "tok-1")
	if len(r.entries) != 0 {
		t.Errorf("the keyring holds %d entries, want none", len(r.entries))
	}
}

func TestASilentKeyringCostsOneShortWaitAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, src := &memory{silent: true}, &issuer{}
		c := &Cache{Source: src, ring: r}
		took := func() time.Duration {
			start := time.Now()
			if _, err := c.Token(t.Context(), request("github.com", time.Now().String()+"/x")); err != nil {
				t.Fatal(err)
			}
			return time.Since(start)
		}
		if d := took(); d == 0 || d > 300*time.Millisecond {
			t.Errorf("the first answer took %v, want one wait of at most 300 ms", d)
		}
		if d := took(); d != 0 {
			t.Errorf("the second answer took %v, want none of it in the keyring", d)
		}
		if err := c.Warning(); err == nil || !strings.Contains(err.Error(), "does not answer, so tokens are kept in memory only; ") {
			t.Errorf("Warning = %v, want that the keyring does not answer", err)
		}
		time.Sleep(2 * time.Minute)
		r.silent = false
		took()
		if err := c.Warning(); err != nil || len(r.entries) != 1 {
			t.Errorf("Warning = %v with %d entries once the keyring answers, want nil and 1", err, len(r.entries))
		}
	})
}

func TestAnAskerThatGoesAwayIsNoFailureOfTheKeyring(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &Cache{Source: &issuer{}, ring: &memory{silent: true}}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		_, _ = c.Token(ctx, widgets)
		if err := c.Warning(); err != nil {
			t.Errorf("Warning = %v, want nil", err)
		}
	})
}

func TestALockedKeyringWarns(t *testing.T) {
	c := &Cache{Source: &issuer{}, ring: &memory{locked: true}}
	want(t, c, widgets, "tok-1")
	if err := c.Warning(); err == nil || !strings.Contains(err.Error(), "the keyring is locked") || !strings.Contains(err.Error(), "unlock") {
		t.Errorf("Warning = %v, want that it is locked and how to go on", err)
	}
}

func TestRubbishInTheKeyringIsReplaced(t *testing.T) {
	r, src := &memory{entries: map[item][]byte{}}, &issuer{}
	c := &Cache{Source: src, ring: r}
	r.entries[item{service, c.account(widgets)}] = []byte("rubbish")
	want(t, c, widgets, "tok-1")
	want(t, &Cache{Source: src, ring: r}, widgets, "tok-1")
	if c.Warning() != nil {
		t.Errorf("Warning = %v, want nil", c.Warning())
	}
}

func TestAShortLivedTokenIsNotStored(t *testing.T) {
	r := &memory{}
	c := &Cache{ring: r, Source: credential.SourceFunc(shortLived)}
	want(t, c, widgets, "brief")
	if len(r.entries) != 0 {
		t.Errorf("the keyring holds %d entries, want none", len(r.entries))
	}
}

// The agent finds out what git does only for sources that need it.
func TestTheSourceDecidesOnTheOperation(t *testing.T) {
	if (&Cache{Source: &issuer{}}).UsesOperation() {
		t.Error("UsesOperation = true, want false as of the source")
	}
	if !(&Cache{Source: &careful{}}).UsesOperation() {
		t.Error("UsesOperation = false, want true as of the source")
	}
}

// kept is a source with a login that has to be kept alive.
type kept struct {
	credential.Source
	times int
}

func (k *kept) Upkeep(context.Context) { k.times++ }

func TestUpkeepReachesTheSource(t *testing.T) {
	src := &kept{}
	(&Cache{Source: src}).Upkeep(t.Context())
	if src.times != 1 {
		t.Errorf("upkeeps of the source = %d, want 1", src.times)
	}
	(&Cache{Source: credential.SourceFunc(nil)}).Upkeep(t.Context()) // a source without upkeep
}
