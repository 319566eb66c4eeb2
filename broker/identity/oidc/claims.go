package oidc

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
)

// registered are the claims with a defined meaning (RFC 7519, section 4.1).
var registered = []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti"}

// lastDate is the end of the year 9999, in seconds since 1970.
const lastDate = 253402300799

// maxText is how many bytes of a token's text an error shows.
const maxText = 200

func clip(text string) string { return usererr.Cut(text, maxText) }

// checkClaims checks the claims, and returns when they expire. It is called before the
// signature is verified: what fails here costs no computation and fetches no keys.
func (s Settings) checkClaims(claims map[string]any, now time.Time) (until time.Time, err error) {
	if err := checkNames(claims); err != nil {
		return time.Time{}, err
	}
	if err := s.checkAudience(claims["aud"]); err != nil {
		return time.Time{}, err
	}
	if textIn(claims, "sub") == "" {
		return time.Time{}, errNoSub
	}
	if s.SingleUse && textIn(claims, "jti") == "" {
		return time.Time{}, errors.New("the token has no jti, and this broker takes each token once")
	}
	return s.checkTimes(claims, now)
}

// CheckClaims returns an error if no token with these claims can be accepted by these
// settings. Missing claims are not an error, except the audience. It is for claims in
// tests and explanations, which are not proved; a token's own claims are checked by
// Identify.
func (s Settings) CheckClaims(claims map[string]any) error {
	text, err := json.Marshal(claims)
	if err != nil {
		return err
	}
	if base64.RawURLEncoding.EncodedLen(len(text)) > maxToken {
		return errLong
	}
	if _, err := decodeObject(text); err != nil {
		return fmt.Errorf("the token's payload: %w", err)
	}
	if _, isSaid := claims["sub"]; isSaid && textIn(claims, "sub") == "" {
		return errNoSub
	}
	return cmp.Or(checkNames(claims), s.checkAudience(claims["aud"]))
}

var errNoSub = errors.New("the token has no sub")

// checkNames refuses names that differ only in case from a registered one: Go's JSON
// readers take them for it.
func checkNames(claims map[string]any) error {
	for name := range claims {
		for _, r := range registered {
			if name != r && strings.EqualFold(name, r) {
				return fmt.Errorf("the token has a claim %q beside %s", clip(name), r)
			}
		}
	}
	return nil
}

// checkAudience requires the one audience, alone. A token for several audiences could
// be replayed here by each of the others. OpenID Connect Core 1.0 (section 3.1.3.7)
// also tells clients to refuse audiences that they do not trust.
func (s Settings) checkAudience(aud any) error {
	if list, ok := aud.([]any); ok && len(list) == 1 {
		aud = list[0]
	}
	if text, ok := aud.(string); !ok || text != s.Audience {
		return fmt.Errorf("the token is not for %q alone: ask the issuer for one with that audience", s.Audience)
	}
	return nil
}

// checkTimes checks exp, which is required, nbf and iat.
func (s Settings) checkTimes(claims map[string]any, now time.Time) (until time.Time, err error) {
	times := map[string]time.Time{}
	for _, name := range []string{"exp", "nbf", "iat"} {
		v, ok := claims[name]
		if !ok {
			continue
		}
		if times[name], ok = numericDate(v); !ok {
			return time.Time{}, fmt.Errorf("the token's %s is no date", name)
		}
	}
	skew := s.skew()
	exp, hasEnd := times["exp"]
	issued, hasIssued := times["iat"]
	switch {
	case !hasEnd:
		return time.Time{}, errors.New("the token has no exp")
	case !now.Before(exp.Add(skew)):
		return time.Time{}, errors.New("the token has expired")
	case now.Add(skew).Before(times["nbf"]):
		return time.Time{}, errors.New("the token is not valid yet: compare the clocks")
	case now.Add(skew).Before(issued):
		return time.Time{}, errors.New("the token is issued in the future: compare the clocks")
	case s.MaxAge > 0 && !hasIssued:
		return time.Time{}, errors.New("the token has no iat, and this broker bounds a token's age")
	case s.MaxAge > 0 && now.After(issued.Add(s.MaxAge+skew)):
		return time.Time{}, fmt.Errorf("the token was issued more than %s ago", s.MaxAge)
	}
	return exp.Add(skew), nil
}

// numericDate converts seconds since 1970 (RFC 7519, section 2). It drops a fraction.
func numericDate(v any) (time.Time, bool) {
	number, ok := v.(json.Number)
	if !ok {
		return time.Time{}, false
	}
	seconds, err := number.Float64()
	if err != nil || seconds < 0 || seconds > lastDate {
		return time.Time{}, false
	}
	return time.Unix(int64(seconds), 0), true
}
