// Package secret holds texts that do not print themselves. Types that carry a
// secret embed [Text], so that the rule of printing is written once.
package secret

import (
	"fmt"
	"io"
)

// mark stands where a secret is printed.
const mark = "[secret]"

// A Text is a secret. Whatever prints it shows a mark: fmt with any verb, slog,
// JSON and text encodings. [Text.Reveal] is the one way to the text.
type Text struct {
	text *string // behind a pointer: fmt cannot call Format inside an unexported field
}

// New holds text.
func New(text string) Text { return Text{&text} }

// Reveal returns the text, and "" for the zero Text.
func (t Text) Reveal() string {
	if t.text == nil {
		return ""
	}
	return *t.text
}

// Format implements [fmt.Formatter] by a mark.
func (t Text) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, mark) }

// String returns the mark.
func (t Text) String() string { return mark }

// MarshalText returns the mark; JSON and slog use it too.
func (t Text) MarshalText() ([]byte, error) { return []byte(mark), nil }
