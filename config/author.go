package config

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// An Author is the author of a workspace's commits. The zero Author means the author in
// git's own configuration.
type Author struct{ Name, Email string }

// ParseAuthor reads "NAME <EMAIL>", the form of git's commits.
func ParseAuthor(text string) (name, email string, err error) {
	name, rest, found := strings.Cut(text, " <")
	email, closed := strings.CutSuffix(rest, ">")
	_, domain, hasAt := strings.Cut(email, "@")
	switch {
	case !found || !closed || !hasAt || domain == "" || strings.HasPrefix(email, "@"),
		strings.TrimSpace(name) != name || name == "" || strings.ContainsAny(name+email, "<>") || strings.ContainsAny(email, " \t"),
		!utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) || len(text) > 512:
		return "", "", fmt.Errorf("author %q: want NAME <EMAIL>, such as acme-bot[bot] <1234+acme-bot[bot]@users.noreply.github.com>", text)
	}
	return name, email, nil
}

func checkAuthor(node yaml.Node) (a Author, err error) {
	if node.IsZero() {
		return a, nil
	}
	if node.Kind != yaml.ScalarNode || node.Tag != "!!str" {
		return a, errors.New("author is NAME <EMAIL>")
	}
	a.Name, a.Email, err = ParseAuthor(node.Value)
	return a, err
}
