package credential

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRejectingAnotherTokenKeepsTheCachedOne(t *testing.T) {
	c := &Cache{Source: &issuer{}}
	want(t, c, "tok-1")
	c.Reject(widgets, "tok-0")
	want(t, c, "tok-1")
	c.Reject(widgets, "tok-1")
	want(t, c, "tok-2")
}

func TestARejectedTokenIsNotServedAgain(t *testing.T) {
	c := &Cache{Source: &issuer{fixed: "stale"}}
	want(t, c, "stale")
	c.Reject(widgets, "stale")
	_, err := c.Token(t.Context(), widgets)
	if err == nil || !strings.Contains(err.Error(), "rejected") || strings.Contains(err.Error(), "stale") {
		t.Errorf("Token = %v, want an error that says rejected and not the token", err)
	}
}

// A shared is a source with one token for all repositories, as SSM has.
type shared struct{ *issuer }

func (shared) Key(Request) string { return "one" }

// A repository's own Authorization header makes the server answer 401 whatever our token
// is (actions/checkout#2299). The token still works for every other repository.
func TestARejectionForOneRepositoryLeavesTheOthersTheToken(t *testing.T) {
	gadgets := widgets
	gadgets.Path = "acme/gadgets"
	c := &Cache{Source: shared{&issuer{fixed: "good"}}}
	want(t, c, "good")
	c.Reject(widgets, "good")
	for range 2 {
		if tok, err := c.Token(t.Context(), widgets); err == nil {
			t.Errorf("Token(acme/widgets) = %v, want it refused there", tok)
		}
		if tok, err := c.Token(t.Context(), gadgets); err != nil || tok.Secret() != "good" {
			t.Errorf("Token(acme/gadgets) = %v, %v, want the token", tok, err)
		}
	}
	c.Reject(Request{Protocol: "https", Host: "github.com"}, "good")
	if tok, err := c.Token(t.Context(), gadgets); err == nil {
		t.Errorf("Token = %v after a rejection without a path, want it refused everywhere", tok)
	}
}

func TestForgetWithoutAPathDropsTheHost(t *testing.T) {
	c := &Cache{Source: &issuer{}}
	want(t, c, "tok-1")
	c.Forget(Request{Protocol: "https", Host: "ghe.example"})
	want(t, c, "tok-1")
	c.Forget(Request{Protocol: "https", Host: "github.com"})
	want(t, c, "tok-2")
	c.Forget(Request{Protocol: "https", Host: "github.com", Path: "acme/gadgets"})
	want(t, c, "tok-2")
}

func TestRefreshFetchesAheadWhatIsInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &issuer{}
		c := &Cache{Source: src}
		want(t, c, "tok-1")
		for range 120 { // an hour of upkeep every half minute
			time.Sleep(30 * time.Second)
			c.Refresh(t.Context())
			synctest.Wait()
			tok, err := c.Token(t.Context(), widgets)
			if err != nil || time.Until(tok.Expiry) < 4*time.Minute || !tok.Cached() {
				t.Fatalf("Token = %v, %v, cached %v, want a fresh one from memory", tok, err, tok.Cached())
			}
		}
		if n := src.calls.Load(); n != 2 {
			t.Errorf("calls to the source = %d, want 2", n)
		}
	})
}

func TestRefreshLeavesWhatIsIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &issuer{}
		c := &Cache{Source: src}
		want(t, c, "tok-1")
		for range 130 {
			time.Sleep(30 * time.Second)
			c.Refresh(t.Context())
			synctest.Wait()
		}
		if n := src.calls.Load(); n != 1 {
			t.Errorf("calls to the source = %d, want 1: no caller asked since", n)
		}
		if held := c.Held(); len(held) != 0 {
			t.Errorf("Held() = %v, want none: it expired", held)
		}
		if n := len(c.entries); n != 0 {
			t.Errorf("entries = %d, want none: it was not asked for again", n)
		}
	})
}

func TestCacheIsBounded(t *testing.T) {
	c := &Cache{Source: &issuer{}}
	ask := func(i int) Token {
		tok, _ := c.Token(t.Context(), Request{Protocol: "https", Host: "github.com", Path: fmt.Sprint(i)})
		return tok
	}
	for i := range maxEntries {
		ask(i)
	}
	ask(0)
	for i := range 10 {
		ask(maxEntries + i)
	}
	if n := len(c.entries); n > maxEntries {
		t.Errorf("entries = %d, want at most %d", n, maxEntries)
	}
	if kept, gone := ask(0), ask(1); !kept.Cached() || gone.Cached() {
		t.Errorf("Cached() = %v and %v, want the one that was asked for lately to stay", kept.Cached(), gone.Cached())
	}
}

func TestRejectedTokensAreBounded(t *testing.T) {
	c := &Cache{Source: &issuer{fixed: "first"}}
	for i := range maxRejected + 10 {
		c.Reject(widgets, []string{"first", "other" + fmt.Sprint(i)}[min(i, 1)])
	}
	if n := len(c.rejected); n != maxRejected {
		t.Errorf("rejected = %d, want %d", n, maxRejected)
	}
	if tok, err := c.Token(t.Context(), widgets); err == nil {
		t.Errorf("Token = %v, want an error: it was rejected first of all", tok)
	}
}

// A token lives for at most an hour: what was rejected longer ago cannot be a live
// token.
func TestARejectionIsForgottenAfterTheTokensLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &Cache{Source: &issuer{fixed: "stale"}}
		c.Reject(widgets, "stale")
		for range 59 {
			time.Sleep(time.Minute)
			c.Refresh(t.Context())
		}
		if tok, err := c.Token(t.Context(), widgets); err == nil {
			t.Errorf("Token = %v after 59 minutes, want an error", tok)
		}
		time.Sleep(2 * time.Minute)
		c.Refresh(t.Context())
		want(t, c, "stale")
	})
}

func TestRefreshDoesNotPressASourceThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &issuer{}
		c := &Cache{Source: src}
		want(t, c, "tok-1")
		time.Sleep(50 * time.Minute)
		want(t, c, "tok-1") // in use
		src.breaks(errors.New("down"))
		time.Sleep(5 * time.Minute)
		for range 60 { // a minute of upkeep every second
			c.Refresh(t.Context())
			synctest.Wait()
			time.Sleep(time.Second)
		}
		if n := src.calls.Load() - 1; n < 3 || n > 6 {
			t.Errorf("attempts in a minute = %d, want one every 10 to 20 seconds", n)
		}
	})
}

func TestRefreshWaitsForASourceThatHasNothingNewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &issuer{life: 4 * time.Minute, fixed: "same"}
		c := &Cache{Source: src}
		want(t, c, "same")
		for range 59 {
			c.Refresh(t.Context())
			synctest.Wait()
			time.Sleep(time.Second)
		}
		if n := src.calls.Load(); n != 1 {
			t.Errorf("calls to the source = %d within a minute, want 1", n)
		}
		time.Sleep(2 * time.Second)
		c.Refresh(t.Context())
		synctest.Wait()
		if n := src.calls.Load(); n != 2 {
			t.Errorf("calls to the source = %d after a minute, want 2", n)
		}
	})
}

func TestHeldSaysWhatIsInMemory(t *testing.T) {
	src := &issuer{}
	c := &Cache{Source: src}
	want(t, c, "tok-1")
	src.breaks(errors.New("down"))
	_, _ = c.Token(t.Context(), Request{Protocol: "https", Host: "github.com", Path: "acme/gadgets"})
	for range 2 {
		held := c.Held()
		if len(held) != 1 || held[0].Host != "github.com" || held[0].Path != "acme/widgets" || held[0].Token.Secret() != "tok-1" || held[0].Used.IsZero() {
			t.Errorf("Held() = %v, want acme/widgets at github.com alone", held)
		}
	}
}
