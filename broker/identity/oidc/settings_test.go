package oidc

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepass/gatepass/broker"
)

func TestSingleUse(t *testing.T) {
	i := newIssuer(t)
	by := i.identifier(t, func(s *Settings) { s.SingleUse = true })
	token := i.token(map[string]any{"jti": "one"})
	if _, err := identify(t.Context(), by, token); err != nil {
		t.Fatal(err)
	}
	for _, after := range []time.Duration{0, 299 * time.Second, 59 * time.Second} {
		i.pass(after)
		if _, err := identify(t.Context(), by, token); err == nil || !strings.Contains(err.Error(), "used before") {
			t.Errorf("shown again: Identify = %v", err)
		}
	}
	if _, err := identify(t.Context(), by, i.token(map[string]any{"jti": "one"})); err == nil {
		t.Error("another token with the same jti is proof")
	}
	if _, err := identify(t.Context(), by, i.token(map[string]any{"jti": "two"})); err != nil {
		t.Errorf("another jti: Identify = %v", err)
	}
	if _, err := identify(t.Context(), by, i.token(map[string]any{"jti": nil})); err == nil || !strings.Contains(err.Error(), "no jti") {
		t.Errorf("no jti: Identify = %v", err)
	}
	forged := signRSA(otherRSAKey(), map[string]any{"alg": "RS256", "kid": "rsa"}, i.claims(map[string]any{"jti": "three"}))
	if _, err := identify(t.Context(), by, forged); err == nil {
		t.Fatal("a forged token is proof")
	}
	if _, err := identify(t.Context(), by, i.token(map[string]any{"jti": "three"})); err != nil {
		t.Errorf("a forged token used up the jti of another: %v", err)
	}
}

// A call that gives nothing does not use up a token, and accepts a used one.
func TestSingleUseIsForWhatIsGiven(t *testing.T) {
	i := newIssuer(t)
	by := i.identifier(t, func(s *Settings) { s.SingleUse = true })
	token := i.token(nil)
	for _, spent := range []bool{false, true} {
		for range 2 {
			if _, err := identify(broker.KeepProofs(t.Context()), by, token); err != nil {
				t.Errorf("a call that gives nothing, spent %v: Identify = %v", spent, err)
			}
		}
		if _, err := identify(t.Context(), by, token); (err != nil) != spent {
			t.Errorf("a call for a token, spent %v: Identify = %v", spent, err)
		}
	}
	forged := signRSA(otherRSAKey(), map[string]any{"alg": "RS256", "kid": "rsa"}, i.claims(nil))
	if _, err := identify(broker.KeepProofs(t.Context()), by, forged); err == nil {
		t.Error("a forged token is proof for a call that gives nothing")
	}
}

// A token used at one replica is refused at all others, and at the same one after a
// restart.
func TestSingleUseAtAllReplicas(t *testing.T) {
	i := newIssuer(t)
	once := func(s *Settings) { s.SingleUse = true }
	replicas := []*Identifier{i.identifier(t, once), i.identifier(t, once), i.identifier(t, func(s *Settings) { s.SingleUse, s.ClockSkew = true, 2*time.Minute })}
	for range 20 {
		token := i.token(nil)
		var taken atomic.Int32
		var wg sync.WaitGroup
		for _, by := range replicas {
			wg.Go(func() {
				_, err := identify(t.Context(), by, token)
				if err == nil {
					taken.Add(1)
				} else if r, ok := errors.AsType[*broker.Refusal](err); !ok || r.Reason != broker.ReasonReplay {
					t.Errorf("Identify = %v, want a refusal for replay", err)
				}
			})
		}
		wg.Wait()
		if taken.Load() != 1 {
			t.Fatalf("%d replicas take a token, want one", taken.Load())
		}
	}
}

// If the store does not answer, the token is not accepted, and is not reported as used.
func TestSingleUseWithoutItsStore(t *testing.T) {
	i := newIssuer(t)
	by := i.identifier(t, func(s *Settings) { s.SingleUse = true })
	by.replay.Store = nil
	if _, err := identify(t.Context(), by, i.token(nil)); !isUnavailable(err) {
		t.Errorf("Identify = %v, want 503", err)
	}
	if _, err := newAt(Settings{Issuer: i.URL, Audience: audience, SingleUse: true}, nil, i.now); err == nil {
		t.Error("single_use without a store is taken")
	}
}

func TestMaxAge(t *testing.T) {
	i := newIssuer(t)
	by := i.identifier(t, func(s *Settings) { s.MaxAge = 10 * time.Minute })
	for name, c := range map[string]struct {
		claims map[string]any
		want   string
	}{
		"young":          {map[string]any{"iat": i.now().Unix() - 600}, ""},
		"old":            {map[string]any{"iat": i.now().Unix() - 661}, "more than 10m0s ago"},
		"of unknown age": {map[string]any{"iat": nil}, "no iat"},
	} {
		_, err := identify(t.Context(), by, i.token(c.claims))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Identify = %v, want %q", name, err, c.want)
		}
	}
}

func TestSettings(t *testing.T) {
	good := Settings{Issuer: "https://issuer.example/path", Audience: audience}
	for name, c := range map[string]struct {
		change func(*Settings)
		want   string
	}{
		"good":               {func(*Settings) {}, ""},
		"no issuer":          {func(s *Settings) { s.Issuer = "" }, "issuer"},
		"http":               {func(s *Settings) { s.Issuer = "http://issuer.example" }, "want https://"},
		"a query":            {func(s *Settings) { s.Issuer += "?a=b" }, "want https://"},
		"a password":         {func(s *Settings) { s.Issuer = "https://a:b@issuer.example" }, "want https://"},
		"a pattern":          {func(s *Settings) { s.Issuer = "https://*" }, ""}, // a host that does not exist
		"no audience":        {func(s *Settings) { s.Audience = "" }, "audience is missing"},
		"HMAC":               {func(s *Settings) { s.Algorithms = []string{"HS256"} }, `algorithm "HS256"`},
		"none":               {func(s *Settings) { s.Algorithms = []string{"RS256", "none"} }, `algorithm "none"`},
		"another algorithm":  {func(s *Settings) { s.Algorithms = []string{"PS256"} }, ""},
		"a wide skew":        {func(s *Settings) { s.ClockSkew = time.Hour }, "at most 10m"},
		"a negative age":     {func(s *Settings) { s.MaxAge = -1 }, "max_age"},
		"an API server":      {func(s *Settings) { s.TokenReview = &Review{} }, ""},
		"a bare API server":  {func(s *Settings) { s.TokenReview = &Review{URL: "kubernetes"} }, "token_review: url"},
		"everything at once": {func(s *Settings) { *s = Settings{} }, "audience is missing"},
	} {
		s := good
		c.change(&s)
		err := s.Check()
		if _, newErr := New(s, nil); (newErr == nil) != (err == nil) || (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Check = %v, want %q", name, err, c.want)
		}
	}
	if _, err := New(Settings{}, nil); err == nil {
		t.Error("the zero Settings trust somebody")
	}
}
