package credential

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// issuer is a source that hands out tok-1, tok-2, … with an hour each.
type issuer struct {
	calls atomic.Int64
	delay time.Duration
	fail  atomic.Pointer[error]
	fixed string // when set, always this token
	life  time.Duration
}

func (s *issuer) Token(ctx context.Context, req Request) (Token, error) {
	n := s.calls.Add(1)
	select {
	case <-time.After(s.delay):
	case <-ctx.Done():
		return Token{}, ctx.Err()
	}
	if err := s.fail.Load(); err != nil {
		return Token{}, *err
	}
	text := s.fixed
	if text == "" {
		text = fmt.Sprintf("tok-%d", n)
	}
	return NewToken(text, time.Now().Add(orDefault(s.life, time.Hour))), nil
}

func (s *issuer) breaks(err error) { s.fail.Store(&err) }
func (s *issuer) mends()           { s.fail.Store(nil) }

var widgets = Request{Protocol: "https", Host: "github.com", Path: "acme/widgets"}

// want asks the cache for widgets and compares.
func want(t *testing.T, c *Cache, token string) {
	t.Helper()
	tok, err := c.Token(t.Context(), widgets)
	if err != nil || tok.Secret() != token {
		t.Fatalf("Token = %q, %v, want %q", tok.Secret(), err, token)
	}
}

func TestCacheServesUntilTheMargin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &Cache{Source: &issuer{}}
		want(t, c, "tok-1")
		time.Sleep(54 * time.Minute)
		want(t, c, "tok-1")
		time.Sleep(2 * time.Minute) // four minutes left
		want(t, c, "tok-2")
	})
}

func TestCacheSaysWhatCameFromMemory(t *testing.T) {
	c := &Cache{Source: &issuer{}}
	first, _ := c.Token(t.Context(), widgets)
	second, _ := c.Token(t.Context(), widgets)
	if first.Cached() || !second.Cached() {
		t.Errorf("Cached() = %v then %v, want false then true", first.Cached(), second.Cached())
	}
}

func TestCacheKeepsTheOldTokenWhileTheSourceIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &issuer{}
		c := &Cache{Source: src}
		want(t, c, "tok-1")
		src.breaks(errors.New("down"))
		time.Sleep(57 * time.Minute)
		want(t, c, "tok-1")
		time.Sleep(150 * time.Second) // half a minute left: less than MinLife
		if tok, err := c.Token(t.Context(), widgets); err == nil {
			t.Fatalf("Token = %q, want an error: it is about to expire", tok.Secret())
		}
		src.mends()
		time.Sleep(3 * time.Second)
		want(t, c, fmt.Sprintf("tok-%d", src.calls.Load()+1))
	})
}

func TestCacheAsksOnceForManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &issuer{delay: time.Second}
		c := &Cache{Source: src}
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { want(t, c, "tok-1") })
		}
		wg.Wait()
		if n := src.calls.Load(); n != 1 {
			t.Errorf("calls to the source = %d, want 1", n)
		}
	})
}

func TestCacheRemembersAFailureBriefly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &issuer{}
		src.breaks(errors.New("down"))
		c := &Cache{Source: src}
		for range 10 {
			if _, err := c.Token(t.Context(), widgets); err == nil || err.Error() != "down" {
				t.Fatalf("Token = %v, want down", err)
			}
		}
		if n := src.calls.Load(); n != 1 {
			t.Errorf("calls to the source = %d, want 1", n)
		}
		src.mends()
		time.Sleep(2*time.Second + time.Millisecond)
		want(t, c, "tok-2")
	})
}

func TestCacheRemembersNoFailureWhenToldSo(t *testing.T) {
	src := &issuer{}
	src.breaks(errors.New("down"))
	c := &Cache{Source: src, Negative: -1}
	if _, err := c.Token(t.Context(), widgets); err == nil {
		t.Fatal("Token = nil error, want down")
	}
	src.mends()
	want(t, c, "tok-2")
}

func TestCacheGivesUpAFetchNobodyWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &issuer{delay: 10 * time.Second}
		c := &Cache{Source: src}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Token(ctx, widgets); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Token = %v, want a deadline", err)
		}
		want(t, c, "tok-2") // a new fetch, not the abandoned one, and no remembered failure
	})
}

func TestOneWaiterLeavingDoesNotFailTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &issuer{delay: 10 * time.Second}
		c := &Cache{Source: src}
		var wg sync.WaitGroup
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, _ = c.Token(ctx, widgets)
		})
		wg.Go(func() { want(t, c, "tok-1") })
		wg.Wait()
	})
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

func TestRejectingAnotherTokenKeepsTheCachedOne(t *testing.T) {
	c := &Cache{Source: &issuer{}}
	want(t, c, "tok-1")
	c.Reject(widgets, "tok-0")
	want(t, c, "tok-1")
	c.Reject(widgets, "tok-1")
	want(t, c, "tok-2")
}

// keeper is a source that keeps tokens below the cache.
type keeper struct {
	issuer
	told []string
}

func (k *keeper) Reject(req Request, print string) { k.told = append(k.told, req.Path+" "+print) }

func TestASourceThatKeepsTokensIsToldOfRejectedOnes(t *testing.T) {
	src := &keeper{}
	c := &Cache{Source: src}
	c.Reject(widgets, "tok-1")
	c.RejectPrint(widgets, "0123")
	want := []string{"acme/widgets " + fingerprint("tok-1"), "acme/widgets 0123"}
	if !slices.Equal(src.told, want) {
		t.Errorf("the source was told of %q, want %q", src.told, want)
	}
}

func TestForgetWithoutAPathDropsTheHost(t *testing.T) {
	c := &Cache{Source: &issuer{}}
	want(t, c, "tok-1")
	c.Forget(Request{Protocol: "https", Host: "github.com"})
	want(t, c, "tok-2")
}

func TestCacheRefusesWhatIsNoToken(t *testing.T) {
	for _, bad := range []string{"null", "a b", "<html>", strings.Repeat("x", MaxToken+1), "a\x00b"} {
		c := &Cache{Source: &issuer{fixed: bad}}
		if tok, err := c.Token(t.Context(), widgets); err == nil {
			t.Errorf("Token = %.20q, want an error", tok.Secret())
		}
	}
}

func TestCacheRefusesAnExpiredToken(t *testing.T) {
	for _, life := range []time.Duration{-time.Second, 30 * time.Second} {
		c := &Cache{Source: &issuer{life: life}}
		if _, err := c.Token(t.Context(), widgets); err == nil || !strings.Contains(err.Error(), "expire") {
			t.Errorf("Token with %v left = %v, want an error about its expiry", life, err)
		}
	}
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
			t.Errorf("calls to the source = %d, want 1: nobody asked since", n)
		}
		if held := c.Held(); len(held) != 0 {
			t.Errorf("Held() = %v, want none: it expired", held)
		}
	})
}

// keyed shares one token per host.
type keyed struct{ *issuer }

func (keyed) Key(req Request) string { return req.Host }

func TestCacheAsksTheSourceWhatSharesAToken(t *testing.T) {
	other := Request{Protocol: "https", Host: "github.com", Path: "acme/gadgets"}
	c := &Cache{Source: keyed{&issuer{}}}
	want(t, c, "tok-1")
	if tok, _ := c.Token(t.Context(), other); tok.Secret() != "tok-1" {
		t.Errorf("Token(other) = %q, want the shared tok-1", tok.Secret())
	}
	c = &Cache{Source: &issuer{}}
	want(t, c, "tok-1")
	if tok, _ := c.Token(t.Context(), other); tok.Secret() != "tok-2" {
		t.Errorf("Token(other) = %q, want its own tok-2", tok.Secret())
	}
}

func TestCacheIsBounded(t *testing.T) {
	c := &Cache{Source: &issuer{}}
	for i := range maxEntries + 10 {
		_, _ = c.Token(t.Context(), Request{Protocol: "https", Host: "github.com", Path: fmt.Sprint(i)})
	}
	if n := len(c.entries); n > maxEntries {
		t.Errorf("entries = %d, want at most %d", n, maxEntries)
	}
}
