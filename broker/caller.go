package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
)

// A Caller is who sent a request, as far as that was proved.
type Caller struct {
	Method string // "socket", "oidc", "aws", "mtls", "session", "token"
	// Subject is who it is, whole: a uid, a subject, an ARN, a SPIFFE id. Rules see
	// it, so that only what is shown to people is cut.
	Subject string
	// Claims are what the proof says, as decoded JSON: texts, json.Number, bool,
	// lists and objects.
	Claims map[string]any
	// Spend uses up a proof that holds once, and returns a [*Refusal] where it was
	// shown before; nil for one that may be shown again.
	Spend func(context.Context) error
}

// MaxSubject bounds a subject, in bytes. That of a SPIFFE id has at most half of it.
const MaxSubject = 4 << 10

// NewCaller returns the caller of a method whom claims describe: what proves
// callers, what tries rules on cases and what explains them make the subject of
// the claims here, and refuse what is too long here. The subject is empty where
// the claims do not say it.
func NewCaller(method string, claims map[string]any) (Caller, error) {
	c := Caller{Method: method, Claims: claims}
	c.Subject = c.subject()
	if len(c.Subject) > MaxSubject {
		return Caller{}, fmt.Errorf("the subject of this identity is %d bytes long, and at most %d are taken", len(c.Subject), MaxSubject)
	}
	return c, nil
}

// subject is what the claims of the method say.
func (c Caller) subject() string {
	form, ok := map[string]struct{ before, claim string }{
		"socket": {"uid ", "uid"}, "oidc": {"", "sub"}, "aws": {"", "arn"}, "mtls": {"", "spiffe_id"}, "session": {"session of ", "workspace"},
	}[c.Method]
	text, isSaid := textOf(c.Claims[form.claim])
	if !ok || !isSaid {
		return ""
	}
	if issuer, isText := c.Claims["iss"].(string); c.Method == "oidc" && isText {
		form.before = issuer + " "
	}
	return form.before + text
}

// Use spends what proved the caller, for a call that gives it something: for another
// it is not used up, since the next request for a token needs it. It is called when a
// rule turned out to be for the caller: whom none is for, of all that an issuer or AWS
// knows, leaves nothing in the store.
func (c Caller) Use(ctx context.Context) error {
	if c.Spend == nil || ctx.Value(givesNothing{}) != nil {
		return nil
	}
	return c.Spend(ctx)
}

// An Identifier proves who sent a request.
type Identifier interface {
	// Identify returns an error that wraps ErrNoProof where the request carries
	// no proof of this kind, and another where it carries one that does not hold.
	// The text of that one is answered to the caller; a [*Refusal] is answered as
	// it is (503: the proof cannot be looked at now).
	Identify(ctx context.Context, r *http.Request) (Caller, error)
}

type givesNothing struct{}

// GivingNothing returns the context of a call that gives its caller nothing: see
// [Caller.Use].
func GivingNothing(ctx context.Context) context.Context {
	return context.WithValue(ctx, givesNothing{}, true)
}

// ErrNoProof reports that a request carries no proof of an identifier's kind.
var ErrNoProof = errors.New("the request carries no such proof")

// Claim returns the claim at a path: a name, or names with slashes between them
// where claims are in objects ("kubernetes.io/namespace"). Names may have slashes
// themselves; the whole path as one name comes first, and then the shorter name.
// Texts, numbers and booleans have a text; others have none.
func (c Caller) Claim(path string) (string, bool) {
	if v, ok := c.Claims[path]; ok {
		return textOf(v)
	}
	return claimIn(c.Claims, path)
}

func claimIn(object map[string]any, path string) (string, bool) {
	for i := range len(path) {
		if path[i] != '/' {
			continue
		}
		if inner, ok := object[path[:i]].(map[string]any); ok {
			if text, ok := claimIn(inner, path[i+1:]); ok {
				return text, true
			}
		}
	}
	return textOf(object[path])
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
