package oidc

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gatepass/gatepass/broker"
)

// maxToken bounds a token before it is parsed, in bytes. Tokens of CI systems and clusters
// have one to three thousand.
const maxToken = 8 << 10

var errLong = fmt.Errorf("the token is longer than %d bytes", maxToken)

// segments are the parts of a signed token (RFC 7515, section 7.1).
const segments = 3

// A claimed is a parsed token. Nothing in it is proved.
type claimed struct {
	raw           string
	alg, kid, typ string
	headers       map[string]any
	payload       []byte
	claims        map[string]any
}

// parse parses a token. Text that does not look like one is another kind of proof:
// broker.ErrNoProof.
func parse(raw string) (claimed, error) {
	if !strings.HasPrefix(raw, "ey") { // base64 of a JSON object's beginning
		return claimed{}, broker.ErrNoProof
	}
	if len(raw) > maxToken {
		return claimed{}, errLong
	}
	if strings.Count(raw, ".") != segments-1 {
		return claimed{}, errors.New("the token must have three parts")
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

// decodeSegment decodes base64url as RFC 7515 requires: no padding, no line breaks (which the
// standard library ignores), no unused bits. So a token has one spelling.
func decodeSegment(text string) ([]byte, error) {
	if text == "" || strings.ContainsAny(text, "\r\n") {
		return nil, errors.New("a part of the token is empty or malformed")
	}
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, errors.New("a part of the token is not valid base64url")
	}
	return decoded, nil
}

func textIn(object map[string]any, name string) string {
	text, _ := object[name].(string)
	return text
}

// checkHeader refuses headers that change what is signed. Keys and locations of keys in the
// token (jwk, jku, x5c, x5u) are ignored: only the issuer's keys count.
func (c claimed) checkHeader(allowed []string) error {
	for _, name := range []string{"crit", "b64"} {
		if _, ok := c.headers[name]; ok {
			return fmt.Errorf("the token's header has %s, which changes what a signature means", name)
		}
	}
	for _, name := range []string{"alg", "kid", "typ"} {
		if v, ok := c.headers[name]; ok && textIn(c.headers, name) == "" && v != "" {
			return fmt.Errorf("the token's header has a %s that is not a string", name)
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

// maxDepth is how deep a token's objects and lists may be nested.
const maxDepth = 16

var (
	errNoObject  = errors.New("it is not a JSON object")
	errDuplicate = errors.New("it has a claim twice")
	errDeep      = errors.New("it is nested too deep")
	errText      = errors.New("it has a string that is not valid Unicode")
)

// decodeObject parses one JSON object and nothing after it. It refuses what JSON parsers
// interpret differently: repeated names, and invalid Unicode (encoding/json replaces it, so
// that different texts become equal). Numbers are json.Number.
func decodeObject(data []byte) (map[string]any, error) {
	if !utf8.Valid(data) {
		return nil, errText
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	v, err := decodeValue(dec, 0)
	if err != nil {
		return nil, err
	}
	object, ok := v.(map[string]any)
	if _, err := dec.Token(); !ok || !errors.Is(err, io.EOF) {
		return nil, errNoObject
	}
	return object, nil
}

func decodeValue(dec *json.Decoder, depth int) (any, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, errNoObject
	}
	switch token := token.(type) {
	case json.Delim:
		if depth == maxDepth {
			return nil, errDeep
		}
		if token == '{' {
			return decodeMembers(dec, depth+1)
		}
		return decodeElements(dec, depth+1)
	case string:
		if strings.ContainsRune(token, utf8.RuneError) {
			return nil, errText
		}
	}
	return token, nil
}

func decodeMembers(dec *json.Decoder, depth int) (any, error) {
	object := map[string]any{}
	for dec.More() {
		name, err := decodeValue(dec, depth)
		if err != nil {
			return nil, err
		}
		text, ok := name.(string)
		if !ok {
			return nil, errNoObject
		}
		if _, isThere := object[text]; isThere {
			return nil, errDuplicate
		}
		if object[text], err = decodeValue(dec, depth); err != nil {
			return nil, err
		}
	}
	return object, closed(dec)
}

func decodeElements(dec *json.Decoder, depth int) (any, error) {
	list := []any{}
	for dec.More() {
		v, err := decodeValue(dec, depth)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, closed(dec)
}

// closed reads the end of an object or list.
func closed(dec *json.Decoder) error {
	if _, err := dec.Token(); err != nil {
		return errNoObject
	}
	return nil
}
