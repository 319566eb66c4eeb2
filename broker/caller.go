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

// A Template makes a workspace's id of claims: "ci-{claim.repository_id}". It makes
// no id of two different lists of claims: a text between two claims separates them,
// and a claim that contains it is refused.
type Template string

const (
	placeBegin = "{claim."
	placeEnd   = "}"
)

// A Part of a template is a text and the claim behind it; the last part has no
// claim.
type Part struct{ Text, Claim string }

// Parts takes a template apart.
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

// Check returns what is wrong with a template whatever the claims.
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

// ID fills in the claims. A claim that is missing, that contains the separator
// behind it, or that makes no id, is an error.
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

// Separates reports whether a separator shows where a value in front of it ends: it
// does not occur earlier, also not with its beginning in the value.
func Separates(separator, value string) bool {
	return strings.Index(value+separator, separator) == len(value)
}

// Claims are the claims in a template.
func (t Template) Claims() []string {
	parts, _ := t.Parts() // one that is wrong was refused
	var paths []string
	for _, p := range parts {
		if p.Claim != "" {
			paths = append(paths, p.Claim)
		}
	}
	return paths
}
