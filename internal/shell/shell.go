// Package shell writes and reads words of POSIX shell commands.
package shell

import (
	"errors"
	"strconv"
	"strings"
)

// Quote returns s as one word, in single quotes.
func Quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// QuoteIfNeeded returns s as one word, in quotes only if it is not plain text.
func QuoteIfNeeded(s string) string {
	if s != "" && IsPlain(s) {
		return s
	}
	return Quote(s)
}

// IsPlain reports whether no character of s has a meaning in a shell.
func IsPlain(s string) bool { return strings.IndexFunc(s, isSpecial) < 0 }

func isSpecial(r rune) bool {
	return r < 0x80 && !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' ||
		strings.ContainsRune("/._-+,:=@%", r))
}

var errUnfinished = errors.New("unfinished quotation")

// FirstWord reads the first word of a command, and returns it with the rest. The word may
// have plain text, single quotes and backslashes; anything else is an error.
func FirstWord(command string) (word, rest string, err error) {
	var b strings.Builder
	for i := 0; i < len(command); i++ {
		switch c := command[i]; {
		case c == ' ':
			return b.String(), strings.TrimLeft(command[i:], " "), nil
		case c == '\'':
			end := strings.IndexByte(command[i+1:], '\'')
			if end < 0 {
				return "", "", errUnfinished
			}
			b.WriteString(command[i+1 : i+1+end])
			i += 1 + end
		case c == '\\' && i+1 < len(command):
			i++
			b.WriteByte(command[i])
		case isSpecial(rune(c)):
			return "", "", errors.New(strconv.QuoteRune(rune(c)) + " is not plain text")
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), "", nil
}
