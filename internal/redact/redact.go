// Package redact makes text from a server safe to show: limited in length and without
// anything that looks like a token. Package usererr escapes it, as it does every
// message.
package redact

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"
)

// mark replaces a secret.
const mark = "[redacted]"

// Text returns s cut to about max bytes, with everything replaced that looks like a
// secret: tokens of GitHub and Vault, JWTs, join tokens and sessions of the broker,
// what follows Basic and Bearer, keys and sessions of AWS, private keys in PEM, the
// user part of URLs, and values named password, secret or token.
func Text(s string, max int) string {
	// Cut after replacing: half a token would no longer look like one.
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

// minSecret is how many characters must follow a prefix; "ghs_" alone is a word of
// documentation.
const minSecret = 8

const (
	tokenLetters = "._-"    // of tokens, in addition to letters and digits
	wordLetters  = "._-+/"  // and of base64
	wideLetters  = "._-+/=" // and of its end, the padding
)

// prefixes start secrets, anywhere in a text.
var prefixes = []struct{ text, letters string }{
	{"ghs_", tokenLetters},
	{"ghp_", tokenLetters},
	{"gho_", tokenLetters},
	{"ghu_", tokenLetters},
	{"ghr_", tokenLetters},
	{"github_pat_", tokenLetters},
	{"eyJ", tokenLetters},  // a JWT, or a session of the broker: the base64 of `{"`
	{"gpj_", tokenLetters}, // a join token
	{"hvs.", tokenLetters},
	{"hvb.", tokenLetters},
	{"hvr.", tokenLetters},  // Vault's
	{"ya29.", tokenLetters}, // Google's
	{"IQoJb3JpZ2lu", wideLetters},
	{"FwoGZXIvYXdz", wideLetters},         // sessions of AWS
	{"eC1hY2Nlc3MtdG9rZW46", wideLetters}, // the base64 of "x-access-token:"
}

// tokens replaces secrets that are recognized by their form or by the name before them.
func tokens(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		kept, n := secretAt(s, i)
		if n == 0 {
			b.WriteByte(s[i])
			i++
			continue
		}
		b.WriteString(s[i : i+kept])
		b.WriteString(mark)
		i += kept + n
	}
	return b.String()
}

// secretAt returns the length n of the secret at s[i:], after kept bytes that name it;
// n is 0 if there is none.
func secretAt(s string, i int) (kept, n int) {
	if n := prefixed(s[i:]); n > 0 {
		return 0, n
	}
	if kept, n := named(s[i:]); n > 0 {
		return kept, n
	}
	if i > 0 && isOf(s[i-1], wordLetters) {
		return 0, 0 // the other forms are whole words
	}
	if kept, n := underScheme(s[i:]); n > 0 {
		return kept, n
	}
	return 0, max(vaultLegacy(s[i:]), awsKey(s[i:]))
}

// run returns how many bytes at the start of s are letters, digits or in others.
func run(s, others string) int {
	n := 0
	for n < len(s) && isOf(s[n], others) {
		n++
	}
	return n
}

func isOf(c byte, others string) bool {
	return isLower(c) || isUpper(c) || isDigit(c) || strings.IndexByte(others, c) >= 0
}

func isLower(c byte) bool { return 'a' <= c && c <= 'z' }
func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func prefixed(s string) int {
	for _, p := range prefixes {
		if !strings.HasPrefix(s, p.text) {
			continue
		}
		if n := run(s[len(p.text):], p.letters); n >= minSecret {
			return len(p.text) + n
		}
	}
	return 0
}

// vaultLegacy recognizes tokens of Vault before 1.10: a letter, a dot, 24 letters.
func vaultLegacy(s string) int {
	const letters = 24
	if len(s) < 2 || s[1] != '.' || strings.IndexByte("sbr", s[0]) < 0 || run(s[2:], "") < letters {
		return 0
	}
	return 2 + run(s[2:], tokenLetters)
}

// awsKey recognizes the two halves of an AWS key: AKIA or ASIA with 16 capitals, and 40
// characters of base64. Letters of only one case are a git hash, and a leading slash is
// a path's.
func awsKey(s string) int {
	const idSize, secretSize = 20, 40
	id, n := s[:run(s, "")], run(s, wideLetters)
	switch {
	case len(id) == idSize && (strings.HasPrefix(id, "AKIA") || strings.HasPrefix(id, "ASIA")) && !hasAll(id, isLower):
		return idSize
	case n == secretSize && s[0] != '/' && run(s, "+/") == n && hasAll(s[:n], isLower, isUpper, isDigit):
		return n
	}
	return 0
}

func hasAll(word string, kinds ...func(byte) bool) bool {
	for _, is := range kinds {
		if !strings.ContainsFunc(word, func(r rune) bool { return r < 0x80 && is(byte(r)) }) {
			return false
		}
	}
	return true
}

// underScheme recognizes the value after a scheme of HTTP authentication.
func underScheme(s string) (kept, n int) {
	for _, scheme := range []struct {
		text string
		is   func(word string) bool
	}{{"basic ", isLogin}, {"bearer ", isOpaque}} {
		rest, ok := cutFold(s, scheme.text)
		if !ok {
			continue
		}
		kept = len(scheme.text) + blanks(rest)
		if n := run(s[kept:], wideLetters+"~"); scheme.is(s[kept : kept+n]) {
			return kept, n
		}
	}
	return 0, 0
}

// isLogin reports whether a word is the base64 of "user:password".
func isLogin(word string) bool {
	text, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(word, "="))
	return err == nil && strings.Contains(string(text), ":")
}

// isOpaque distinguishes a token from a word of a sentence.
func isOpaque(word string) bool {
	const long = 24 // letters; English words are practically never longer
	return len(word) >= long || len(word) >= minSecret && hasAll(word, isDigit)
}

// names come before secrets: in a query, an assignment or a JSON object, also as the
// end of a longer name ("aws_secret_access_key").
var names = []string{"password", "passwd", "secret", "token", "secret_access_key", "secretaccesskey", "private_key"}

// headers come before secrets, with a colon.
var headers = []string{"authorization", "-token"}

// named recognizes a secret by the name before it.
func named(s string) (kept, n int) {
	for _, name := range headers {
		if rest, ok := cutFold(s, name); ok && strings.HasPrefix(rest, ":") {
			return value(s, len(name)+1, name == "authorization")
		}
	}
	for _, name := range names {
		rest, ok := cutFold(s, name)
		if !ok {
			continue
		}
		isQuoted := strings.HasPrefix(rest, `"`) || strings.HasPrefix(rest, "'")
		kept = len(name)
		if isQuoted {
			kept++
		}
		kept += blanks(s[kept:])
		if strings.HasPrefix(s[kept:], "=") || isQuoted && strings.HasPrefix(s[kept:], ":") {
			return value(s, kept+1, false)
		}
	}
	return 0, 0
}

func cutFold(s, name string) (rest string, ok bool) {
	if len(s) < len(name) || !strings.EqualFold(s[:len(name)], name) {
		return "", false
	}
	return s[len(name):], true
}

// blanks returns the number of blanks at the start of s.
func blanks(s string) int { return len(s) - len(strings.TrimLeft(s, " ")) }

// value returns the place of the value that starts at s[at:]: up to its closing quote,
// the end of the line, or the end of the word.
func value(s string, at int, isLine bool) (kept, n int) {
	kept = at + blanks(s[at:])
	rest := s[kept:]
	ends := " \t\r\n&,;\"'"
	switch {
	case isLine:
		ends = "\r\n\"'"
	case strings.HasPrefix(rest, `"`), strings.HasPrefix(rest, "'"):
		ends, rest, kept = rest[:1], rest[1:], kept+1
	}
	if end := strings.IndexAny(rest, ends); end >= 0 {
		return kept, end
	}
	return kept, len(rest)
}

// pem replaces private keys, complete or cut off.
func pem(s string) string {
	const begin, label, end, dashes = "-----BEGIN ", "PRIVATE KEY", "-----END ", "-----"
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(s, begin)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		kind, body, _ := strings.Cut(rest, dashes)
		if !strings.Contains(kind, label) {
			b.WriteString(begin)
			s = rest
			continue
		}
		b.WriteString(mark)
		_, after, _ := strings.Cut(body, end)
		_, s, _ = strings.Cut(after, dashes)
	}
}
