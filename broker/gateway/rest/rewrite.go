package rest

import (
	"bufio"
	"bytes"
	"io"
	"slices"
	"strings"
)

// A base is the beginning of an API's URLs: as GitHub writes it in answers, and as the
// caller must use it.
type base struct{ from, to string }

// bases are the replacements for URLs in GitHub's answers. No base is the beginning of
// another one up to a boundary.
type bases []base

// rewrite returns url with its base replaced. ok is false if it has none of the bases.
func (bs bases) rewrite(url string) (led string, ok bool) {
	for _, b := range bs {
		rest, has := strings.CutPrefix(url, b.from)
		if has && (rest == "" || isBoundary(rest[0])) {
			return b.to + rest, true
		}
	}
	return url, false
}

// isBoundary reports whether a base may end before c: "https://api.github.com" is not a
// base of "https://api.github.com.example". A link's target ends with ">".
func isBoundary(c byte) bool { return strings.IndexByte("/?#{>", c) >= 0 }

// rewriteLinks returns a Link header (RFC 8288) with the bases in its URLs replaced.
func (bs bases) rewriteLinks(header string) string {
	parts := strings.Split(header, "<")
	for i, part := range parts[1:] {
		parts[i+1], _ = bs.rewrite(part)
	}
	return strings.Join(parts, "<")
}

// jsonRewriter copies JSON and replaces the base in every string that is the value of a
// key "url" or "…_url". It changes no other byte, and passes on what is not JSON. It
// holds at most one base in memory, however deep and large the document is.
type jsonRewriter struct {
	out   *bufio.Writer
	bases bases

	state   state
	escaped bool // the last byte was a backslash that escapes the next

	tail   [6]byte // the last bytes of the current string, or of the last one
	length int     // length of that string, in bytes
	since  since   // what came after that string

	depth     int  // number of open objects and lists
	hasErrors bool // the outermost object has the key "errors", as in answers to failed GraphQL requests

	raw, plain []byte // the beginning of a URL: as written, and without the escapes of slashes
}

// state is a jsonRewriter's position in the document.
type state int

const (
	outside  state = iota // of strings
	inString              // in a string that is copied unchanged
	inURL                 // in the value of a URL key, while it may have a base
	inEscape              // in such a value, after a backslash
)

// since says what came between two strings. After a colon alone, the second is the
// value of the first.
type since int

const (
	blanks since = iota
	aColon
	more
)

func newJSONRewriter(w io.Writer, bs bases) *jsonRewriter {
	return &jsonRewriter{out: bufio.NewWriterSize(w, 32<<10), bases: bs, since: more}
}

// Write copies p. Close writes what Write holds back.
func (l *jsonRewriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		switch l.state {
		case outside:
			p = l.outside(p)
		case inString:
			p = l.string(p)
		default:
			p = l.url(p)
		}
	}
	_, err := l.out.Write(nil) // returns the error of any earlier write
	return n, err
}

// Close writes what Write has held back. It does not close the writer below.
func (l *jsonRewriter) Close() error {
	l.flushHeld()
	return l.out.Flush()
}

// outside copies p up to and including the quote that starts the next string.
func (l *jsonRewriter) outside(p []byte) []byte {
	before, after, found := bytes.Cut(p, []byte{'"'})
	l.between(before)
	l.write(before)
	if !found {
		return nil
	}
	l.write(quote)
	l.state = inString
	if l.since == aColon && l.isURLKey() {
		l.state = inURL
	}
	l.length = 0
	return after
}

// between examines what separates two strings.
func (l *jsonRewriter) between(skipped []byte) {
	for _, c := range skipped {
		switch c {
		case ' ', '\t', '\n', '\r':
			continue
		case ':':
			if l.since == blanks {
				l.since = aColon
				l.hasErrors = l.hasErrors || l.depth == 1 && l.ends("errors") && l.length == len("errors")
				continue
			}
		case '{', '[':
			l.depth++
		case '}', ']':
			l.depth--
		}
		l.since = more
	}
}

// isURLKey reports whether the last string is "url" or ends with "_url".
func (l *jsonRewriter) isURLKey() bool {
	return l.ends("_url") || l.ends("url") && l.length == len("url")
}

// ends reports whether the last string ends with a text, which is at most as long as
// tail.
func (l *jsonRewriter) ends(with string) bool {
	return l.length >= len(with) && string(l.tail[len(l.tail)-len(with):]) == with
}

// string copies a string up to its end or its next backslash.
func (l *jsonRewriter) string(p []byte) []byte {
	i := 0
	if l.escaped {
		i, l.escaped = 1, false
	}
	for i < len(p) && p[i] != '"' && p[i] != '\\' {
		i++
	}
	l.text(p[:i])
	switch {
	case i == len(p):
		return nil
	case p[i] == '"':
		l.end()
	default:
		l.text(p[i : i+1])
		l.escaped = true
	}
	return p[i+1:]
}

// url collects the beginning of a URL, until it has a base or cannot have one.
func (l *jsonRewriter) url(p []byte) []byte {
	c, written := p[0], p[:1]
	switch {
	case l.state == inEscape && c == '/':
		l.state, written = inURL, []byte(`\/`)
	case l.state == inEscape: // no base contains another escape
		l.flushHeld()
		l.escaped = true
		return p
	case c == '\\':
		l.state = inEscape
		return p[1:]
	}
	if to, has := l.base(); has && (c == '"' || isBoundary(c)) {
		l.raw = append(l.raw[:0], to...)
		l.flushHeld()
	}
	switch {
	case c == '"':
		l.flushHeld()
		l.end()
	case l.state == inString:
		l.text(written)
	default:
		l.raw, l.plain = append(l.raw, written...), append(l.plain, c)
		if !l.mayHaveBase() {
			l.flushHeld()
		}
	}
	return p[1:]
}

// base returns the replacement, if the URL so far is a base.
func (l *jsonRewriter) base() (to string, has bool) {
	i := slices.IndexFunc(l.bases, func(b base) bool { return b.from == string(l.plain) })
	if i < 0 {
		return "", false
	}
	return l.bases[i].to, true
}

// mayHaveBase reports whether a base starts with the URL so far.
func (l *jsonRewriter) mayHaveBase() bool {
	return slices.ContainsFunc(l.bases, func(b base) bool { return strings.HasPrefix(b.from, string(l.plain)) })
}

// flushHeld writes what is held back of a URL, and goes on as in other strings.
func (l *jsonRewriter) flushHeld() {
	if l.state == inEscape {
		l.raw = append(l.raw, '\\')
	}
	l.write(l.raw)
	l.raw, l.plain = l.raw[:0], l.plain[:0]
	if l.state != outside {
		l.state = inString
	}
}

var quote = []byte{'"'}

// end writes the quote that ends a string.
func (l *jsonRewriter) end() {
	l.write(quote)
	l.state, l.since = outside, blanks
}

// text copies part of a string, and remembers its last bytes.
func (l *jsonRewriter) text(part []byte) {
	l.write(part)
	l.length += len(part)
	last := part[max(0, len(part)-len(l.tail)):]
	kept := copy(l.tail[:], l.tail[len(last):])
	copy(l.tail[kept:], last)
}

// write writes to the buffer, which keeps an error for the next Write and Close.
func (l *jsonRewriter) write(p []byte) { _, _ = l.out.Write(p) }
