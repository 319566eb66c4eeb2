package broker

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
)

// A Caller is who sent a request, as far as that was proved.
type Caller struct {
	Method string // "socket", "oidc", "aws", "mtls", "session", "token"
	// Subject is who it is for people: a uid, a subject, an ARN, a SPIFFE id.
	Subject string
	// Claims are what the proof says, as decoded JSON: texts, json.Number, bool,
	// lists and objects.
	Claims map[string]any
}

// An Identifier proves who sent a request.
type Identifier interface {
	// Identify returns an error that wraps ErrNoProof where the request carries
	// no proof of this kind, and another where it carries one that does not hold.
	// The text of that one is answered to the caller.
	Identify(ctx context.Context, r *http.Request) (Caller, error)
}

// ErrNoProof reports that a request carries no proof of an identifier's kind.
var ErrNoProof = errors.New("the request carries no such proof")

// Claim returns the claim at a path: a name, or names with slashes between them
// where claims are in objects ("kubernetes.io/namespace"). Texts, numbers and
// booleans have a text; others have none.
func (c Caller) Claim(path string) (string, bool) {
	if v, ok := c.Claims[path]; ok {
		return textOf(v)
	}
	var at any = c.Claims
	for rest := path; rest != ""; {
		object, ok := at.(map[string]any)
		if !ok {
			return "", false
		}
		name, after, _ := strings.Cut(rest, "/")
		if at, ok = object[name]; !ok {
			return "", false
		}
		rest = after
	}
	return textOf(at)
}

func textOf(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}
