// Package secret holds texts that do not print themselves. Types with a secret embed
// [Text], so that the rule of printing is written once.
package secret

import (
	"fmt"
	"io"
)

// mark is printed in place of a secret.
const mark = "[secret]"

// A Text is a secret. It prints as a mark: with fmt and any verb, in slog, JSON and
// text encodings. Only [Text.Reveal] returns the text.
type Text struct {
	text *string // behind a pointer: fmt cannot call Format inside an unexported field
}

// New returns a Text that holds text.
func New(text string) Text { return Text{&text} }

// Reveal returns the text, and "" for the zero Text.
func (t Text) Reveal() string {
	if t.text == nil {
		return ""
	}
	return *t.text
}

// Format implements [fmt.Formatter]. It writes the mark.
func (t Text) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, mark) }

// String returns the mark.
func (t Text) String() string { return mark }

// MarshalText returns the mark; JSON and slog use it too.
func (t Text) MarshalText() ([]byte, error) { return []byte(mark), nil }
