package rest

import (
	"bufio"
	"bytes"
	"io"
	"slices"
	"strings"
)

// A base is where an API is, as GitHub writes it in answers, and where the caller finds
// the same.
type base struct{ from, to string }

// bases lead URLs in GitHub's answers back to the caller. None is the beginning of
// another at a boundary.
type bases []base

// lead returns url with its base replaced. ok is false where it has none of the bases.
func (bs bases) lead(url string) (led string, ok bool) {
	for _, b := range bs {
		rest, has := strings.CutPrefix(url, b.from)
		if has && (rest == "" || isBoundary(rest[0])) {
			return b.to + rest, true
		}
	}
	return url, false
}

// isBoundary reports whether a base may end before c: "https://api.github.com" is no base
// of "https://api.github.com.example". A link's target ends with ">".
func isBoundary(c byte) bool { return strings.IndexByte("/?#{>", c) >= 0 }

// leadLinks returns a Link header (RFC 8288) with the bases of its targets replaced.
func (bs bases) leadLinks(header string) string {
	parts := strings.Split(header, "<")
	for i, part := range parts[1:] {
		parts[i+1], _ = bs.lead(part)
	}
	return strings.Join(parts, "<")
}

// jsonLeader copies JSON and replaces the bases of strings that are the value of a key
// "url" or "…_url". Every other byte stays as it is, and what is no JSON passes through.
// It holds no more than one base in memory, however deep and large the document is.
type jsonLeader struct {
	out   *bufio.Writer
	bases bases

	state   state
	escaped bool // the byte before was a backslash that escapes the next

	tail   [6]byte // the last bytes of the string that is being read, or was read last
	length int     // of that string, in bytes
	since  since   // what came since that string ended

	depth     int  // of objects and lists around
	hasErrors bool // the outermost object has the key "errors", as answers to failed GraphQL have

	raw, plain []byte // of a URL's beginning, as written and without the escapes of slashes
}

// state is where in the document a jsonLeader is.
type state int

const (
	outside  state = iota // of strings
	inString              // that stays as it is
	inURL                 // in the value of a URL's key, as long as it may have a base
	inEscape              // in such a value, behind a backslash
)

// since says what is between two strings: a colon alone makes the second the value of
// the first.
type since int

const (
	blanks since = iota
	aColon
	more
)

func newJSONLeader(w io.Writer, bs bases) *jsonLeader {
	return &jsonLeader{out: bufio.NewWriterSize(w, 32<<10), bases: bs, since: more}
}

// Write copies p. What is held is written by Close.
func (l *jsonLeader) Write(p []byte) (int, error) {
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
	_, err := l.out.Write(nil) // the error of any write before
	return n, err
}

// Close writes what is held. It does not close the writer below.
func (l *jsonLeader) Close() error {
	l.giveUp()
	return l.out.Flush()
}

// outside copies p up to and including the quote that begins the next string.
func (l *jsonLeader) outside(p []byte) []byte {
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

// between looks at what separates two strings.
func (l *jsonLeader) between(skipped []byte) {
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

// isURLKey reports whether the last string was "url" or ended with "_url".
func (l *jsonLeader) isURLKey() bool {
	return l.ends("_url") || l.ends("url") && l.length == len("url")
}

// ends reports whether the last string ended with a text that is no longer than tail.
func (l *jsonLeader) ends(with string) bool {
	return l.length >= len(with) && string(l.tail[len(l.tail)-len(with):]) == with
}

// string copies a string up to its end or its next backslash.
func (l *jsonLeader) string(p []byte) []byte {
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

// url looks at the beginning of a URL, until it has a base or cannot have one.
func (l *jsonLeader) url(p []byte) []byte {
	c, written := p[0], p[:1]
	switch {
	case l.state == inEscape && c == '/':
		l.state, written = inURL, []byte(`\/`)
	case l.state == inEscape: // no base has another escape
		l.giveUp()
		l.escaped = true
		return p
	case c == '\\':
		l.state = inEscape
		return p[1:]
	}
	if to, has := l.base(); has && (c == '"' || isBoundary(c)) {
		l.raw = append(l.raw[:0], to...)
		l.giveUp()
	}
	switch {
	case c == '"':
		l.giveUp()
		l.end()
	case l.state == inString:
		l.text(written)
	default:
		l.raw, l.plain = append(l.raw, written...), append(l.plain, c)
		if !l.mayHaveBase() {
			l.giveUp()
		}
	}
	return p[1:]
}

// base returns what replaces the URL so far, if that is a base.
func (l *jsonLeader) base() (to string, has bool) {
	i := slices.IndexFunc(l.bases, func(b base) bool { return b.from == string(l.plain) })
	if i < 0 {
		return "", false
	}
	return l.bases[i].to, true
}

// mayHaveBase reports whether the URL so far is the beginning of a base.
func (l *jsonLeader) mayHaveBase() bool {
	return slices.ContainsFunc(l.bases, func(b base) bool { return strings.HasPrefix(b.from, string(l.plain)) })
}

// giveUp writes what is held of a URL, and goes on as in any other string.
func (l *jsonLeader) giveUp() {
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
func (l *jsonLeader) end() {
	l.write(quote)
	l.state, l.since = outside, blanks
}

// text copies a part of a string, and remembers its last bytes.
func (l *jsonLeader) text(part []byte) {
	l.write(part)
	l.length += len(part)
	last := part[max(0, len(part)-len(l.tail)):]
	kept := copy(l.tail[:], l.tail[len(last):])
	copy(l.tail[kept:], last)
}

// write copies to the buffer. Its error stays there for the next Write and Close.
func (l *jsonLeader) write(p []byte) { _, _ = l.out.Write(p) }
