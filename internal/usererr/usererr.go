// Package usererr makes the errors that a person reads: one line that says what
// failed, why, and what to do.
//
// It escapes every character that is not printable, so that text from outside (a
// server, a ref, a URL, a file) cannot break the line or control the terminal.
package usererr

import (
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// An Error is one line for a person. It prints as "op: reason; hint".
type Error struct {
	Op     string // what failed, such as "read /sandbox/x/github-token"
	Reason string // the reason; if empty, the text of Err
	Hint   string // what the reader can do about it; may be empty
	Err    error  // the wrapped error, for errors.Is; never printed if Reason is set
}

// New returns an Error. The hint may be empty if nothing helps.
func New(op, reason, hint string) *Error { return &Error{Op: op, Reason: reason, Hint: hint} }

// Wrap returns an Error whose reason is err.
func Wrap(op string, err error, hint string) *Error { return &Error{Op: op, Err: err, Hint: hint} }

func (e *Error) Error() string {
	s := e.Op
	if why := e.ReasonText(); why != "" {
		s += ": " + why
	}
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return Escape(s)
}

// ReasonText returns Reason, or the text of Err if Reason is empty. It is not escaped.
func (e *Error) ReasonText() string {
	if e.Reason == "" && e.Err != nil {
		return e.Err.Error()
	}
	return e.Reason
}

// Unwrap returns the wrapped error, if any.
func (e *Error) Unwrap() error { return e.Err }

// Line returns err as the one line that a program prints, newline included: "gatepass:
// what: why; what to do".
func Line(err error) string { return "gatepass: " + Escape(err.Error()) + "\n" }

// Join joins several errors into one line, separated by " / ". errors.Is and errors.As
// find each of them.
func Join(errs ...error) error {
	var some joined
	for _, err := range errs {
		if err != nil {
			some = append(some, err)
		}
	}
	if len(some) == 0 {
		return nil
	}
	return some
}

type joined []error

func (j joined) Error() string {
	texts := make([]string, len(j))
	for i, err := range j {
		texts[i] = err.Error()
	}
	return strings.Join(texts, " / ")
}

func (j joined) Unwrap() []error { return j }

// Escape returns s with every character that is not printable written as a Go
// escape: control characters, line breaks, invalid UTF-8, and the invisible
// and direction-changing characters that make text look like other text.
func Escape(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && size == 1:
			b.WriteString(`\x` + hexByte(s[0]))
		case printable(r):
			b.WriteRune(r)
		default:
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		}
		s = s[size:]
	}
	return b.String()
}

// printable is unicode.IsPrint: letters, marks, numbers, punctuation, symbols
// and the ASCII space; it leaves out control and format characters.
func printable(r rune) bool { return unicode.IsPrint(r) }

func hexByte(c byte) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[c>>4], digits[c&15]})
}

// Quote returns s as one word of a shell, without quotes if possible, for a command
// that the reader should run.
func Quote(s string) string {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("/._-+,:=@%", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// Cut returns text, or the whole characters in its first max bytes. Use it only to show
// a text; decide on the whole one.
func Cut(text string, max int) string {
	if len(text) <= max {
		return text
	}
	return strings.ToValidUTF8(text[:max], "")
}

// JSON returns a JSON text in which every character that is not printable is written as
// \uXXXX. encoding/json leaves control and direction-changing characters, which could
// control a terminal that shows the text. The value stays the same, as do line breaks,
// tabs and blanks between the values.
func JSON(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && size == 1:
			out = appendUnit(out, utf8.RuneError) // as JSON readers read an invalid byte
		case r < utf8.RuneSelf && r != 0x7f || printable(r):
			out = append(out, text[:size]...)
		case r > 0xffff:
			r -= 0x10000
			out = appendUnit(appendUnit(out, 0xd800+r>>10), 0xdc00+r&0x3ff)
		default:
			out = appendUnit(out, r)
		}
		text = text[size:]
	}
	return out
}

// appendUnit appends one unit of UTF-16.
func appendUnit(out []byte, unit rune) []byte {
	high, low := hexByte(byte(unit>>8)), hexByte(byte(unit))
	return append(append(append(out, `\u`...), high...), low...)
}

// JSONWriter returns a writer that escapes JSON like [JSON]. Each Write must hold whole
// characters.
func JSONWriter(w io.Writer) io.Writer { return escaping{w, JSON} }

// TextWriter returns a writer that escapes each line like [Escape]. Each Write must
// hold whole characters.
func TextWriter(w io.Writer) io.Writer {
	return escaping{w, func(text []byte) []byte {
		lines := strings.Split(string(text), "\n")
		for i, line := range lines {
			lines[i] = Escape(line)
		}
		return []byte(strings.Join(lines, "\n"))
	}}
}

// escaping is a writer that escapes its input.
type escaping struct {
	w      io.Writer
	escape func([]byte) []byte
}

func (e escaping) Write(text []byte) (int, error) {
	if _, err := e.w.Write(e.escape(text)); err != nil {
		return 0, err
	}
	return len(text), nil
}
