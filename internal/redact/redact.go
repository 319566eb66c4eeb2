// Package redact makes text from a server fit to be shown: bounded in length
// and without anything that looks like a token. Escaping is left to package
// usererr, which every message passes.
package redact

import (
	"strings"
	"unicode/utf8"
)

// mark stands where a secret was.
const mark = "[redacted]"

// Text returns s cut to about max bytes, with what looks like a secret replaced:
// tokens of GitHub and Vault, JWTs, join tokens and sessions of the broker, what
// stands behind Basic and Bearer, keys and sessions of AWS, private keys in PEM,
// the user part of URLs, and values that are named a password, a secret or a token.
func Text(s string, max int) string {
	// Cutting after replacing: half a token would no longer look like one.
	return cut(userinfo(tokens(pem(s))), max)
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
