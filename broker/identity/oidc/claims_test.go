package oidc

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestDates(t *testing.T) {
	for v, want := range map[any]int64{
		json.Number("0"): 0, json.Number("1700000000"): 1700000000, json.Number("1700000000.9"): 1700000000,
		json.Number("1.7e9"): 1700000000, json.Number("253402300799"): lastDate,
	} {
		if got, ok := numericDate(v); !ok || got.Unix() != want {
			t.Errorf("numericDate(%v) = %v, %v, want %d", v, got, ok, want)
		}
	}
	for _, v := range []any{json.Number("-1"), json.Number("253402300800"), json.Number("1e18"), json.Number("1e400"), json.Number("x"), "1700000000", true, nil, []any{}} {
		if got, ok := numericDate(v); ok {
			t.Errorf("numericDate(%v) = %v, want none", v, got)
		}
	}
}

// A verified token is remembered for as long as it is accepted, the clock tolerance
// included.
func TestUntilWhenATokenIsTaken(t *testing.T) {
	now := time.Unix(1700000000, 0)
	s := Settings{Audience: "b", ClockSkew: 2 * time.Minute, MaxAge: time.Hour}
	claims := func(exp, iat time.Duration) map[string]any {
		number := func(d time.Duration) json.Number {
			text, _ := json.Marshal(now.Add(d).Unix())
			return json.Number(text)
		}
		return map[string]any{"aud": "b", "sub": "s", "exp": number(exp), "iat": number(iat), "nbf": number(iat)}
	}
	for _, c := range []struct {
		name     string
		exp, iat time.Duration
		want     string // part of the error; "" means accepted
	}{
		{"fresh", time.Minute, 0, ""},
		{"over, but for the clocks", -2*time.Minute + time.Second, -time.Hour, ""},
		{"over", -2 * time.Minute, -time.Hour, "expired"},
		{"ahead, but for the clocks", time.Hour, 2 * time.Minute, ""},
		{"ahead", time.Hour, 2*time.Minute + time.Second, "not valid yet"},
		{"as old as may be", time.Hour, -time.Hour - 2*time.Minute, ""},
		{"older", time.Hour, -time.Hour - 2*time.Minute - time.Second, "more than 1h0m0s ago"},
	} {
		until, err := s.checkClaims(claims(c.exp, c.iat), now)
		if c.want == "" && (err != nil || !until.Equal(now.Add(c.exp+s.ClockSkew))) {
			t.Errorf("%s: until %v, %v, want %v", c.name, until, err, now.Add(c.exp+s.ClockSkew))
		}
		if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want an error with %q", c.name, err, c.want)
		}
	}
}
