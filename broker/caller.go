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
	// Subject is the full identity: a uid, a subject, an ARN, a SPIFFE id. Rules
	// compare it, so it is never cut; only texts for people are.
	Subject string
	// Claims are the claims of the proof, as decoded JSON: strings, json.Number, bool,
	// lists and objects.
	Claims map[string]any
	// Spend uses up a single-use proof. It returns a [*Refusal] if the proof was used
	// before. It is nil for a proof that may be used again.
	Spend func(context.Context) error
}

// MaxSubject is the maximum length of a subject, in bytes. A SPIFFE id is at most half
// as long.
const MaxSubject = 4 << 10

// NewCaller returns the caller that claims describe. It derives the subject from the
// claims; without a suitable claim the subject is empty. It returns an error if the
// subject is too long. All code that makes callers (proofs, test cases, explanations)
// uses it.
func NewCaller(method string, claims map[string]any) (Caller, error) {
	c := Caller{Method: method, Claims: claims}
	c.Subject = c.subject()
	if len(c.Subject) > MaxSubject {
		return Caller{}, fmt.Errorf("the subject of this identity is %d bytes long, and at most %d are taken", len(c.Subject), MaxSubject)
	}
	return c, nil
}

// subject returns the subject that the method's claims contain, and "" if they contain
// none.
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

// Use uses up a single-use proof. Call it once a rule has matched the caller: then
// callers without a rule cannot fill the store. In a context of [GivingNothing] it does
// nothing, because the caller's next token request still needs the proof.
func (c Caller) Use(ctx context.Context) error {
	if c.Spend == nil || ctx.Value(givesNothing{}) != nil {
		return nil
	}
	return c.Spend(ctx)
}

// An Identifier identifies the sender of a request.
type Identifier interface {
	// Identify returns an error that wraps ErrNoProof if the request has no proof of
	// this kind, and another error if the proof is invalid. The caller sees the text of
	// that error. A [*Refusal] is answered as it is (503: the proof cannot be checked
	// now).
	Identify(ctx context.Context, r *http.Request) (Caller, error)
}

type givesNothing struct{}

// GivingNothing returns a context for a call that gives its caller nothing: see
// [Caller.Use].
func GivingNothing(ctx context.Context) context.Context {
	return context.WithValue(ctx, givesNothing{}, true)
}

// ErrNoProof reports that a request has no proof of an identifier's kind.
var ErrNoProof = errors.New("the request carries no such proof")

// Claim returns the claim at a path as text. A path is a name, or names separated by
// slashes for claims inside objects ("kubernetes.io/namespace"). Names may contain
// slashes: the whole path as one name comes first, then shorter names. Only strings,
// numbers and booleans have a text; for others ok is false.
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

// A Template makes a workspace's id from claims: "ci-{claim.repository_id}". Two
// different lists of claims never make the same id: a text between two claims separates
// them, and a claim that contains this separator is refused.
type Template string

const (
	placeBegin = "{claim."
	placeEnd   = "}"
)

// A Part of a template is a text and the claim after it; the last part has no claim.
type Part struct{ Text, Claim string }

// Parts splits a template into its parts. It returns an error if braces or separators
// are missing.
func (t Template) Parts() ([]Part, error) {
	var parts []Part
	rest := string(t)
	for {
		text, after, found := strings.Cut(rest, placeBegin)
		if strings.ContainsAny(text, "{}") {
			return nil, errors.New("a workspace's id has {claim.NAME} and no other braces")
		}
		if !found {
			return append(parts, Part{Text: text}), nil
		}
		claim, after, closed := strings.Cut(after, placeEnd)
		if !closed || claim == "" || strings.Contains(claim, "{") {
			return nil, errors.New("a workspace's id has {claim.NAME}, which is not closed here")
		}
		if text == "" && len(parts) > 0 {
			return nil, fmt.Errorf("the claims %s and %s run together in a workspace's id; write a separator between them", parts[len(parts)-1].Claim, claim)
		}
		parts, rest = append(parts, Part{text, claim}), after
	}
}

// Check returns an error if the template is wrong for all claims.
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

// ID fills in the claims. It returns an error if a claim is missing or contains the
// separator after it, or if the result is not a valid id.
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
			return "", errors.New("the claim " + p.Claim + " is missing or is no text")
		}
		if next := parts[i+1]; next.Claim != "" && !Separates(next.Text, value) {
			return "", fmt.Errorf("the claim %s contains the separator %q, so that others could have the same id", p.Claim, next.Text)
		}
		b.WriteString(value)
	}
	id := b.String()
	if err := store.CheckWorkspace(id); err != nil {
		return "", fmt.Errorf("the template %s: %w", t, err)
	}
	return id, nil
}

// Separates reports whether a separator marks the end of a value in front of it. It
// must not occur earlier: neither inside value, nor starting in value and overlapping
// its end.
func Separates(separator, value string) bool {
	return strings.Index(value+separator, separator) == len(value)
}

// Claims returns the names of the claims in a template.
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
