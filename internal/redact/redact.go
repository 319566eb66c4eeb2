// Package redact makes text from a server fit to be shown: bounded in length
// and without anything that looks like a token. Escaping is left to package
// oneline, which every message passes.
package redact

import (
	"strings"
	"unicode/utf8"
)

// mark stands where a secret was.
const mark = "[redacted]"

// prefixes begin GitHub's tokens and JWTs (the base64 of `{"`).
var prefixes = []string{"ghs_", "ghp_", "gho_", "ghu_", "ghr_", "github_pat_", "eyJ"}

// minSecret is how many token letters must follow a prefix; "ghs_" alone is a
// word of documentation.
const minSecret = 8

// Text returns s with tokens, JWTs and the user part of URLs replaced, cut to
// about max bytes.
func Text(s string, max int) string {
	// Cutting after replacing: half a token would no longer look like one.
	return cut(userinfo(tokens(s)), max)
}

func cut(s string, max int) string {
	s = strings.TrimSpace(s)
	if len(s) <= max {
		return s
	}
	for max > 0 && !utf8.RuneStart(s[max]) {
		max--
	}
	return s[:max] + "..."
}

func tokens(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		n := secretLen(s[i:])
		if n == 0 {
			b.WriteByte(s[i])
			i++
			continue
		}
		b.WriteString(mark)
		i += n
	}
	return b.String()
}

// secretLen returns the length of the token that s begins with, or 0.
func secretLen(s string) int {
	for _, prefix := range prefixes {
		if !strings.HasPrefix(s, prefix) {
			continue
		}
		n := len(prefix)
		for n < len(s) && isTokenByte(s[n]) {
			n++
		}
		if n-len(prefix) >= minSecret {
			return n
		}
	}
	return 0
}

func isTokenByte(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || strings.IndexByte("._-", c) >= 0
}

// userinfo replaces user and password in "scheme://user:password@host".
func userinfo(s string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(s, "://")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteString("://")
		end := strings.IndexAny(rest, "/?# \t\r\n\"'")
		if end < 0 {
			end = len(rest)
		}
		if at := strings.LastIndexByte(rest[:end], '@'); at >= 0 {
			b.WriteString(mark)
			rest = rest[at:]
		}
		s = rest
	}
}
