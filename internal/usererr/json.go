package usererr

import (
	"io"
	"strings"
	"unicode/utf8"
)

// JSON returns a JSON text in which every character that is not printable is
// written as \uXXXX: control and direction-changing characters, which
// encoding/json leaves as they are, cannot drive a terminal that shows the text.
// Its value stays the same. Line breaks, tabs and blanks between the values stay.
func JSON(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && size == 1:
			out = appendUnit(out, utf8.RuneError) // as every reader of JSON takes it
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

// JSONWriter returns a writer that passes JSON on as [JSON] writes it. Each Write
// has to hold whole characters.
func JSONWriter(w io.Writer) io.Writer { return escaping{w, JSON} }

// TextWriter returns a writer that passes lines on, each of them as [Escape] writes
// it. Each Write has to hold whole characters.
func TextWriter(w io.Writer) io.Writer {
	return escaping{w, func(text []byte) []byte {
		lines := strings.Split(string(text), "\n")
		for i, line := range lines {
			lines[i] = Escape(line)
		}
		return []byte(strings.Join(lines, "\n"))
	}}
}

// escaping is a writer that escapes what it passes on.
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
