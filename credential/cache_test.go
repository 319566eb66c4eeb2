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

	"github.com/gatepass/gatepass/test/clocktest"
)

// issuer is a source that gives tok-1, tok-2, … for an hour each.
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
		time.Sleep(retryEarly - time.Millisecond)
		want(t, c, "tok-1")
		if n := src.calls.Load(); n != 2 {
			t.Errorf("calls to the source = %d, want 2: it was down a moment ago", n)
		}
		time.Sleep(time.Millisecond)
		want(t, c, "tok-1")
		if n := src.calls.Load(); n != 3 {
			t.Errorf("calls to the source = %d, want 3: it may be up again", n)
		}
		time.Sleep(80 * time.Second) // a minute and a half left
		want(t, c, "tok-1")
		time.Sleep(time.Minute) // half a minute left: less than MinLife
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

func TestCacheCancelsAFetchWithoutCallers(t *testing.T) {
	for name, pause := range map[string]func(){"asked again at once": func() {}, "asked again later": synctest.Wait} {
		synctest.Test(t, func(t *testing.T) {
			src := &issuer{delay: 10 * time.Second}
			c := &Cache{Source: src}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := c.Token(ctx, widgets); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("%s: Token = %v, want a deadline", name, err)
			}
			pause()
			want(t, c, "tok-2") // a new fetch, not the abandoned one, and no remembered failure
		})
	}
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

func TestCacheRefusesWhatIsNoToken(t *testing.T) {
	for _, bad := range []string{"null", "a b", "<html>", strings.Repeat("x", MaxToken+1), "a\x00b"} {
		c := &Cache{Source: &issuer{fixed: bad}}
		if tok, err := c.Token(t.Context(), widgets); err == nil {
			t.Errorf("Token = %.20q, want an error", tok.Secret())
		}
	}
}

func TestCacheRefusesAnExpiredToken(t *testing.T) {
	for life, want := range map[time.Duration]string{
		-time.Second:     "and check this machine's clock",
		30 * time.Second: "too soon to use",
	} {
		c := &Cache{Source: &issuer{life: life}}
		if _, err := c.Token(t.Context(), widgets); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Token with %v left = %v, want an error with %q", life, err, want)
		}
	}
	want(t, &Cache{Source: &issuer{life: 61 * time.Second}}, "tok-1")
}

func TestCacheEndsAFetchThatTakesTooLong(t *testing.T) {
	for _, c := range []*Cache{{}, {Timeout: 3 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			src := &issuer{delay: time.Hour}
			c.Source = src
			start, limit := time.Now(), orDefault(c.Timeout, 20*time.Second)
			for n := range int64(2) {
				_, err := c.Token(t.Context(), widgets)
				if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took != time.Duration(n+1)*limit {
					t.Errorf("Token = %v after %v, want a deadline after %v", err, took, time.Duration(n+1)*limit)
				}
			}
			if n := src.calls.Load(); n != 2 {
				t.Errorf("calls to the source = %d, want 2: slowness is not remembered", n)
			}
		})
	}
}

func TestCacheCancelsTheSourcesCallWithoutCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told time.Duration
		start := time.Now()
		c := &Cache{Source: SourceFunc(func(ctx context.Context, _ Request) (Token, error) {
			<-ctx.Done()
			told = time.Since(start)
			return Token{}, ctx.Err()
		})}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _ = c.Token(ctx, widgets)
		synctest.Wait()
		if told != time.Second {
			t.Errorf("the source was told after %v, want %v", told, time.Second)
		}
	})
}

func TestAnAbandonedFetchDoesNotEndItsSuccessor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		c := &Cache{Source: SourceFunc(func(context.Context, Request) (Token, error) {
			calls.Add(1)
			time.Sleep(10 * time.Second) // ignores its context
			return Token{}, errors.New("down")
		})}
		give := func(limit time.Duration) {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			_, _ = c.Token(ctx, widgets)
		}
		give(5 * time.Second)             // abandoned, returns at 10 s
		go func() { give(time.Minute) }() // its successor, from 5 s to 15 s
		time.Sleep(8 * time.Second)       // 13 s: the failure of the first is forgotten
		give(time.Minute)
		if n := calls.Load(); n != 2 {
			t.Errorf("calls to the source = %d, want 2: one was still under way", n)
		}
	})
}

func TestCacheKeepsToWhatItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &issuer{}
		c := &Cache{Source: src, Margin: 20 * time.Minute, MinLife: 10 * time.Minute, Negative: time.Minute}
		want(t, c, "tok-1")
		time.Sleep(41 * time.Minute)
		want(t, c, "tok-2")
		src.breaks(errors.New("down"))
		time.Sleep(51 * time.Minute)
		if tok, err := c.Token(t.Context(), widgets); err == nil {
			t.Errorf("Token = %v with nine minutes left, want an error", tok)
		}
		src.mends()
		time.Sleep(59 * time.Second)
		if _, err := c.Token(t.Context(), widgets); err == nil {
			t.Error("Token = nil error within a minute of a failure, want that failure")
		}
		time.Sleep(2 * time.Second)
		want(t, c, "tok-4")
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
	if tok, _ := c.Token(t.Context(), Request{Protocol: "https", Host: "ghe.example", Path: "acme/widgets"}); tok.Secret() != "tok-2" {
		t.Errorf("Token(another host) = %q, want its own tok-2", tok.Secret())
	}
	c = &Cache{Source: &issuer{}}
	want(t, c, "tok-1")
	if tok, _ := c.Token(t.Context(), other); tok.Secret() != "tok-2" {
		t.Errorf("Token(other) = %q, want its own tok-2", tok.Secret())
	}
	want(t, c, "tok-1")
}

// The client sets GATEPASS_TIMEOUT, and it may be longer than the default of a fetch.
func TestAFetchLastsAsLongAsItsAskerWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &Cache{Source: &issuer{delay: 50 * time.Second}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if tok, err := c.Token(ctx, widgets); err != nil || tok.Secret() != "tok-1" {
			t.Errorf("Token of a source that takes 50 s, for an asker that waits a minute = %v, %v, want tok-1", tok, err)
		}
	})
}

// A token that expires an hour from now does so even if the machine sleeps meanwhile.
func TestATokenEndsWhileTheMachineSleeps(t *testing.T) {
	now := time.Now()
	token := NewToken("ghs_x", now.Add(time.Hour))
	if left := token.Expiry.Sub(clocktest.Slept(now, 2*time.Hour)); left > -59*time.Minute {
		t.Errorf("after two hours of sleep %v are left, want none", left)
	}
}
