package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/gatepass/gatepass/store"
)

// A Caller is the proved identity of a request's sender.
type Caller struct {
	Method string // "socket", "oidc", "aws", "mtls", "session", "token"
	// Subject is the identity in full: a uid, a subject, an ARN, a SPIFFE ID. Rules match it;
	// only what people see is shortened.
	Subject string
	// Claims are what the proof says, as decoded JSON: strings, json.Number, bool, lists and
	// objects.
	Claims map[string]any
	// MarkUsed marks a single-use proof as used, and returns a [*Refusal] if it was used
	// before. It is nil for proofs that may be used again.
	MarkUsed func(context.Context) error
}

// MaxSubject bounds a subject, in bytes. A SPIFFE ID has at most half of it.
const MaxSubject = 4 << 10

// NewCaller returns the caller that claims describe. It derives the subject, which is empty
// if the claims lack it, and refuses one that is longer than MaxSubject.
func NewCaller(method string, claims map[string]any) (Caller, error) {
	c := Caller{Method: method, Claims: claims}
	c.Subject = c.subject()
	if len(c.Subject) > MaxSubject {
		return Caller{}, fmt.Errorf("the subject of this identity has %d bytes, more than %d", len(c.Subject), MaxSubject)
	}
	return c, nil
}

// subject derives the subject from the method's claims.
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

// UseProof marks a single-use proof as used. It is called only after a rule has matched, so
// that callers without a rule write nothing to the store. Within [KeepProofs] it does
// nothing.
func (c Caller) UseProof(ctx context.Context) error {
	if c.MarkUsed == nil || ctx.Value(keepProofs{}) != nil {
		return nil
	}
	return c.MarkUsed(ctx)
}

// An Identifier authenticates the sender of a request.
type Identifier interface {
	// Identify returns an error that wraps ErrNoProof if the request has no proof of this
	// kind, and another error if it has one that is not valid. The caller sees the text of
	// that error. A [*Refusal] is answered as it is, for example with 503 if the proof cannot
	// be checked now.
	Identify(ctx context.Context, r *http.Request) (Caller, error)
}

type keepProofs struct{}

// KeepProofs returns the context of a call that gives its caller nothing. [Caller.UseProof]
// does nothing there: the caller needs the proof for its next request.
func KeepProofs(ctx context.Context) context.Context {
	return context.WithValue(ctx, keepProofs{}, true)
}

// ErrNoProof reports that a request has no proof of an identifier's kind.
var ErrNoProof = errors.New("the request has no proof of this method")

// Claim returns the claim at path: a name, or names separated by slashes for claims within
// objects ("kubernetes.io/namespace"). Names may contain slashes; the whole path as one name
// is tried first, then shorter names. Only strings, numbers and booleans have a text.
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

// A Template builds a workspace's ID from claims: "ci-{claim.repository_id}". Two different
// lists of claims never give the same ID: text separates two claims, and a claim that
// contains the separator is refused.
type Template string

const (
	placeBegin = "{claim."
	placeEnd   = "}"
)

// A Part is a text and the claim that follows it. The last part has no claim.
type Part struct{ Text, Claim string }

// Parts parses the template.
func (t Template) Parts() ([]Part, error) {
	var parts []Part
	rest := string(t)
	for {
		text, after, found := strings.Cut(rest, placeBegin)
		if strings.ContainsAny(text, "{}") {
			return nil, errors.New("the template of a workspace's ID must have no braces except {claim.NAME}")
		}
		if !found {
			return append(parts, Part{Text: text}), nil
		}
		claim, after, closed := strings.Cut(after, placeEnd)
		if !closed || claim == "" || strings.Contains(claim, "{") {
			return nil, errors.New("the template of a workspace's ID has a {claim.NAME} without }")
		}
		if text == "" && len(parts) > 0 {
			return nil, fmt.Errorf("the claims %s and %s are adjacent in the template of a workspace's ID; write a separator between them", parts[len(parts)-1].Claim, claim)
		}
		parts, rest = append(parts, Part{text, claim}), after
	}
}

// Check returns what is wrong with the template for any claims.
func (t Template) Check() error {
	parts, err := t.Parts()
	if err != nil {
		return err
	}
	var filled strings.Builder
	for _, p := range parts {
		filled.WriteString(p.Text)
		if p.Claim != "" {
			filled.WriteString("x")
		}
	}
	return store.CheckWorkspace(filled.String())
}

// ID fills in the claims. It returns an error if a claim is missing or contains the separator
// that follows it, or if the result is not a valid ID.
func (t Template) ID(c Caller) (string, error) {
	parts, err := t.Parts()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for i, p := range parts {
		b.WriteString(p.Text)
		if p.Claim == "" {
			break
		}
		value, ok := c.Claim(p.Claim)
		if !ok {
			return "", errors.New("the claim " + p.Claim + " is missing or not a string")
		}
		if next := parts[i+1]; next.Claim != "" && !Separates(next.Text, value) {
			return "", fmt.Errorf("the claim %s contains the separator %q, so another caller could have the same ID", p.Claim, next.Text)
		}
		b.WriteString(value)
	}
	id := b.String()
	if err := store.CheckWorkspace(id); err != nil {
		return "", fmt.Errorf("the template %s: %w", t, err)
	}
	return id, nil
}

// Separates reports whether separator marks the end of the value before it: the value
// contains no part of it that could be taken for its beginning.
func Separates(separator, value string) bool {
	return strings.Index(value+separator, separator) == len(value)
}

// Claims are the names of the claims in the template.
func (t Template) Claims() []string {
	parts, _ := t.Parts() // a malformed template was refused earlier
	var paths []string
	for _, p := range parts {
		if p.Claim != "" {
			paths = append(paths, p.Claim)
		}
	}
	return paths
}
