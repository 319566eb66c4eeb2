package fakegithub

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	maxJWT     = 8 << 10          // far longer than any App JWT
	maxJWTLife = 10 * time.Minute // limit of exp, counted from GitHub's time
	iatLeeway  = 60 * time.Second
)

// The texts of GitHub's answers to a bad App JWT. Clients report them, and some branch
// on them. If the client's clock is ahead, GitHub answers with errIssuedAt, although
// the claim is an integer.
const (
	msgUndecodable   = "A JSON web token could not be decoded"
	msgNoIssuer      = "Missing 'issuer' claim ('iss')"
	msgUnknownIssuer = "Integration not found"
	msgNoKey         = "Integration must generate a public key"
	msgNoExpiry      = "Missing 'expiration time' claim ('exp')"
	msgExpired       = "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires"
	msgTooFar        = "'Expiration time' claim ('exp') is too far in the future"
	msgIssuedAt      = "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
)

// errUndecodable is answered with msgUndecodable.
var errUndecodable = errors.New("not a compact RS256 JWT")

// An appJWT is a parsed, not yet verified, App JWT.
type appJWT struct {
	signed    string // the signed bytes
	signature []byte
	claims    appClaims
}

// appClaims preserves numbers as written, because GitHub distinguishes an integer from
// a string.
type appClaims struct {
	Issuer   any `json:"iss"`
	IssuedAt any `json:"iat"`
	Expires  any `json:"exp"`
}

// parseJWT parses a compact RS256 JWS. Its only error is errUndecodable.
func parseJWT(s string) (appJWT, error) {
	parts := strings.Split(s, ".")
	if len(s) > maxJWT || len(parts) != 3 {
		return appJWT{}, errUndecodable
	}
	var header struct {
		Algorithm string `json:"alg"`
		Type      string `json:"typ"`
	}
	t := appJWT{signed: parts[0] + "." + parts[1]}
	signature, err := segment(parts[2])
	if err != nil || decodeSegment(parts[0], &header) != nil || decodeSegment(parts[1], &t.claims) != nil {
		return appJWT{}, errUndecodable
	}
	if header.Algorithm != "RS256" || (header.Type != "" && header.Type != "JWT") {
		return appJWT{}, errUndecodable
	}
	t.signature = signature
	return t, nil
}

// segment decodes unpadded base64url strictly: Go's decoder skips line ends, and
// ignored low bits would give one JWT several spellings.
func segment(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, errUndecodable
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}

func decodeSegment(s string, into any) error {
	raw, err := segment(s)
	if err != nil {
		return err
	}
	if len(raw) == 0 || raw[0] != '{' {
		return errUndecodable
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errUndecodable
	}
	return nil
}

// issuer returns the App's client ID or App ID, which may be a number or a string.
func (c appClaims) issuer() string {
	switch v := c.Issuer.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	return ""
}

// seconds parses a NumericDate. GitHub accepts only integers.
func seconds(v any) (time.Time, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return time.Time{}, false
	}
	sec, err := strconv.ParseInt(n.String(), 10, 64)
	return time.Unix(sec, 0), err == nil
}

// signedBy reports whether one of the App's keys made the signature.
func (t appJWT) signedBy(keys []*rsa.PublicKey) bool {
	digest := sha256.Sum256([]byte(t.signed))
	for _, k := range keys {
		if rsa.VerifyPKCS1v15(k, crypto.SHA256, digest[:], t.signature) == nil {
			return true
		}
	}
	return false
}

// timely returns what is wrong with the claims' times at now, or "".
func (c appClaims) timely(now time.Time) string {
	if c.Expires == nil {
		return msgNoExpiry
	}
	expires, ok := seconds(c.Expires)
	if !ok || !expires.After(now) {
		return msgExpired
	}
	if expires.After(now.Add(maxJWTLife)) {
		return msgTooFar
	}
	issued, ok := seconds(c.IssuedAt)
	if !ok || issued.After(now.Add(iatLeeway)) {
		return msgIssuedAt
	}
	return ""
}

// verifyJWT returns the App that signed the JWT, or GitHub's refusal.
func (s *Server) verifyJWT(compact string) (*App, *refusal) {
	t, err := parseJWT(compact)
	if err != nil {
		return nil, refuse(http.StatusUnauthorized, msgUndecodable)
	}
	issuer := t.claims.issuer()
	if issuer == "" {
		return nil, refuse(http.StatusUnauthorized, msgNoIssuer)
	}
	app := s.state.appByIssuer(issuer)
	if app == nil {
		return nil, refuse(http.StatusNotFound, msgUnknownIssuer)
	}
	if len(app.Keys) == 0 {
		return nil, refuse(http.StatusUnauthorized, msgNoKey)
	}
	if !t.signedBy(app.Keys) {
		return nil, refuse(http.StatusUnauthorized, msgUndecodable)
	}
	s.countJWT(compact)
	if why := t.claims.timely(s.Now()); why != "" {
		return nil, refuse(http.StatusUnauthorized, why)
	}
	return app, nil
}
