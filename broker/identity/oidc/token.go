package oidc

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/broker"
)

// maxToken bounds a token before anything is made of it, in bytes. Those of CI
// systems and clusters have one to three thousand.
const maxToken = 8 << 10

var errLong = fmt.Errorf("the token is longer than %d bytes", maxToken)

// segments are what a signed token consists of (RFC 7515, section 7.1).
const segments = 3

// A claimed is a token taken apart. Nothing of it is proved.
type claimed struct {
	raw           string
	alg, kid, typ string
	headers       map[string]any
	payload       []byte
	claims        map[string]any
}

// parse takes a token apart. What does not look like one is another kind of
// proof: broker.ErrNoProof.
func parse(raw string) (claimed, error) {
	if !strings.HasPrefix(raw, "ey") { // base64 of an object's brace and what may follow it
		return claimed{}, broker.ErrNoProof
	}
	if len(raw) > maxToken {
		return claimed{}, errLong
	}
	if strings.Count(raw, ".") != segments-1 {
		return claimed{}, errors.New("the token is not made of three parts")
	}
	parts := strings.SplitN(raw, ".", segments)
	var decoded [segments][]byte
	for i, part := range parts {
		text, err := decodeSegment(part)
		if err != nil {
			return claimed{}, err
		}
		decoded[i] = text
	}
	c := claimed{raw: raw, payload: decoded[1]}
	var err error
	if c.headers, err = decodeObject(decoded[0]); err != nil {
		return claimed{}, fmt.Errorf("the token's header: %w", err)
	}
	if c.claims, err = decodeObject(c.payload); err != nil {
		return claimed{}, fmt.Errorf("the token's payload: %w", err)
	}
	c.alg, c.kid, c.typ = textIn(c.headers, "alg"), textIn(c.headers, "kid"), textIn(c.headers, "typ")
	return c, nil
}

// decodeSegment reads base64url as RFC 7515 has it: no padding, no line breaks
// (which the standard library passes over), no bits left over. So a token has one
// spelling.
func decodeSegment(text string) ([]byte, error) {
	if text == "" || strings.ContainsAny(text, "\r\n") {
		return nil, errors.New("a part of the token is empty or broken")
	}
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, errors.New("a part of the token is no base64url")
	}
	return decoded, nil
}

func textIn(object map[string]any, name string) string {
	text, _ := object[name].(string)
	return text
}

// checkHeader decides whether what is signed is what it seems to be. Keys and
// places of keys that a token brings along (jwk, jku, x5c, x5u) are not looked at:
// keys are the issuer's.
func (c claimed) checkHeader(allowed []string) error {
	for _, name := range []string{"crit", "b64"} {
		if _, ok := c.headers[name]; ok {
			return fmt.Errorf("the token's header has %s, which changes what a signature means", name)
		}
	}
	for _, name := range []string{"alg", "kid", "typ"} {
		if v, ok := c.headers[name]; ok && textIn(c.headers, name) == "" && v != "" {
			return fmt.Errorf("the token's header has a %s that is no text", name)
		}
	}
	if !slices.Contains(allowed, c.alg) {
		return fmt.Errorf("the token is signed by %q, want %s", clip(c.alg), strings.Join(allowed, " or "))
	}
	if _, ok := c.headers["typ"]; ok && !strings.EqualFold(c.typ, "JWT") {
		return fmt.Errorf("the token's typ is %q, want JWT", clip(c.typ))
	}
	return nil
}
