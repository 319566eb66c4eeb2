package broker

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gatepass/gatepass/store"
)

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
