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

// checkClaims returns what is wrong with the claims, and until when they are valid. It runs
// before the signature is verified: a token that fails here costs no cryptography, and no
// fetch of keys.
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
		return time.Time{}, errors.New("the token has no jti, and this broker accepts each token only once")
	}
	return s.checkTimes(claims, now)
}

// CheckClaims returns an error if no valid token under these settings could have the claims.
// Missing claims are accepted, except the audience. It is for claims in test cases; real
// tokens are checked by Identify.
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

// checkNames refuses names that equal a registered one except for case: Go's JSON decoder
// would confuse them.
func checkNames(claims map[string]any) error {
	for name := range claims {
		for _, r := range registered {
			if name != r && strings.EqualFold(name, r) {
				return fmt.Errorf("the token has both a claim %q and %s", clip(name), r)
			}
		}
	}
	return nil
}

// checkAudience requires the configured audience, alone. Each recipient of a token with
// several audiences could use it here. OpenID Connect Core 1.0 (section 3.1.3.7) requires
// clients to refuse untrusted audiences.
func (s Settings) checkAudience(aud any) error {
	if list, ok := aud.([]any); ok && len(list) == 1 {
		aud = list[0]
	}
	if text, ok := aud.(string); !ok || text != s.Audience {
		return fmt.Errorf("the token's audience is not only %q; request one with that audience from the issuer", s.Audience)
	}
	return nil
}

// checkTimes compares exp, which is required, nbf and iat with the clock.
func (s Settings) checkTimes(claims map[string]any, now time.Time) (until time.Time, err error) {
	times := map[string]time.Time{}
	for _, name := range []string{"exp", "nbf", "iat"} {
		v, ok := claims[name]
		if !ok {
			continue
		}
		if times[name], ok = numericDate(v); !ok {
			return time.Time{}, fmt.Errorf("the token's %s is not a date", name)
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
		return time.Time{}, errors.New("the token has no iat, and this broker limits a token's age")
	case s.MaxAge > 0 && now.After(issued.Add(s.MaxAge+skew)):
		return time.Time{}, fmt.Errorf("the token was issued more than %s ago", s.MaxAge)
	}
	return exp.Add(skew), nil
}

// numericDate parses seconds since 1970 (RFC 7519, section 2), and drops fractions.
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
