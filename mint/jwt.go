package mint

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/gatepass/gatepass/internal/clock"
)

// GitHub refuses a JWT that lives longer than ten minutes, or that was issued in
// its future; a minute either way forgives clocks
// (https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app).
const (
	jwtBackdate = time.Minute
	jwtLife     = 9 * time.Minute
	jwtReserve  = time.Minute // not used any more this long before its end
)

// A passport is the App's JWT, signed once and shown until it is about to end:
// a thousand mints cost one signature every eight minutes.
type jwtCache struct {
	mu      sync.Mutex // guards the rest; held while signing, so that one signs for all
	text    string
	expires time.Time     // by our own clock
	ahead   time.Duration // what our clock was believed to be ahead of GitHub's
}

// show returns a JWT that GitHub should take. ahead is how far our clock, which says
// now, is ahead of GitHub's.
func (p *jwtCache) token(ctx context.Context, issuer string, signer Signer, now time.Time, ahead time.Duration) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.text != "" && clock.Left(p.expires, now) > jwtReserve && (ahead-p.ahead).Abs() < jwtBackdate/2 {
		return p.text, nil
	}
	text, err := signJWT(ctx, issuer, signer, now.Add(-ahead))
	if err != nil {
		return "", fmt.Errorf("sign the App's JWT: %w", err)
	}
	p.text, p.expires, p.ahead = text, now.Add(jwtLife), ahead
	return text, nil
}

// signJWT makes the three parts of a JWT (RFC 7519) with RS256.
func signJWT(ctx context.Context, issuer string, signer Signer, now time.Time) (string, error) {
	claims, err := json.Marshal(struct {
		IssuedAt int64  `json:"iat"`
		Expires  int64  `json:"exp"`
		Issuer   string `json:"iss"`
	}{now.Add(-jwtBackdate).Unix(), now.Add(jwtLife).Unix(), issuer})
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	head := encode([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + encode(claims)
	signature, err := signer.Sign(ctx, sha256.Sum256([]byte(head)))
	if err != nil {
		return "", err
	}
	return head + "." + encode(signature), nil
}
