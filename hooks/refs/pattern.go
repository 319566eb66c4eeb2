package refs

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gobwas/glob"
)

// The matcher backtracks. These limits keep the worst name of 1024 bytes under a tenth
// of a second; without them, five stars can take minutes.
const (
	maxCrossing = 2 // ** in a pattern
	maxStars    = 3 // * and ** in one part between slashes
)

// A pattern matches full ref names. There are three wildcards:
//
//	?   one character other than "/"
//	*   any characters other than "/", or none
//	**  any characters; as a whole part, "a/**/b", also no part at all: "a/b"
//
// All other characters match themselves. Other glob characters are refused and not read
// as text, so that a user does not rely on a set or an exclusion that has no effect.
type pattern struct {
	full   string // with "refs/heads/" added if the entry has none
	prefix string // the literal text before the first wildcard
	suffix string // the literal text after the last one
	within string // the longest literal text anywhere
	glob   *glob.Pattern
}

var compiler = glob.Compiler{Separators: []rune{'/'}, Globstar: true}

// compilePattern compiles the text of an entry.
func compilePattern(text string) (*pattern, error) {
	if err := checkPattern(text); err != nil {
		return nil, err
	}
	full := text
	if !strings.HasPrefix(full, "refs/") {
		full = "refs/heads/" + full
	}
	if err := checkPossible(full); err != nil {
		return nil, fmt.Errorf("no ref can match: %w", err)
	}
	p := &pattern{full: full}
	first, last := strings.IndexAny(full, "*?"), strings.LastIndexAny(full, "*?")
	if first < 0 {
		return p, nil
	}
	p.prefix, p.suffix, p.within = full[:first], full[last+1:], longestLiteral(full[first:])
	var err error
	p.glob, err = compiler.Compile(strings.ReplaceAll(full, "]", `\]`))
	return p, err
}

func checkPattern(text string) error {
	switch {
	case text == "":
		return errors.New("it is empty")
	case text[0] == '!':
		return errors.New("negation is not supported; a ref that no entry names is refused anyway")
	case strings.ContainsAny(text, `[{}\`):
		return errors.New(`only ?, * and ** are special; instead of a set such as [ab] or {a,b}, write one entry for each`)
	case strings.Contains(text, "***"):
		return errors.New("*** is not a wildcard; ** crosses slashes, * does not")
	case strings.Count(text, "**") > maxCrossing:
		return fmt.Errorf("it has more than %d **", maxCrossing)
	}
	for part := range strings.SplitSeq(text, "/") {
		if strings.Count(part, "*")-strings.Count(part, "**") > maxStars {
			return fmt.Errorf("it has more than %d wildcards between two slashes", maxStars)
		}
	}
	return nil
}

// checkPossible returns an error if no valid ref matches the full pattern. Replacing
// every wildcard with a letter never makes a valid name invalid, so a name that is
// invalid after that is so because of the literal text.
func checkPossible(full string) error {
	if full == "refs/heads" || full == "refs/tags" {
		return errors.New("it is a directory of refs; add /** to match all of them")
	}
	shortest := strings.ReplaceAll(full, "**/", "")
	shortest = strings.ReplaceAll(shortest, "*", "")
	if len(shortest) > maxRef {
		return fmt.Errorf("it is longer than %d bytes", maxRef)
	}
	sample := strings.NewReplacer("**", "a", "*", "a", "?", "a").Replace(full)
	if len(sample) > maxRef {
		sample = sample[:maxRef-1] + "a"
	}
	return CheckRef(sample)
}

func longestLiteral(s string) string {
	longest := ""
	for _, literal := range strings.FieldsFunc(s, func(r rune) bool { return r == '*' || r == '?' }) {
		if len(literal) > len(longest) {
			longest = literal
		}
	}
	return longest
}

// match reports whether ref, a valid full name, matches the pattern. The three literal
// texts exclude most names before the wildcards cost anything. Every match contains
// them, even if "**/" matches nothing, because the slash is then the one before it.
func (p *pattern) match(ref string) bool {
	if p.glob == nil {
		return ref == p.full
	}
	return strings.HasPrefix(ref, p.prefix) && strings.HasSuffix(ref, p.suffix) &&
		strings.Contains(ref, p.within) && p.glob.Match(ref)
}

// maxRef is the longest remote ref that is allowed, in bytes. Forges allow far less.
const maxRef = 1024

// CheckRef returns an error unless ref is a full name, "refs/…", that git itself
// accepts (git-check-ref-format) and at most 1024 bytes long.
func CheckRef(ref string) error {
	switch {
	case len(ref) > maxRef:
		return fmt.Errorf("it is longer than %d bytes", maxRef)
	case !strings.HasPrefix(ref, "refs/"):
		return errors.New(`it does not start with "refs/"`)
	case strings.HasSuffix(ref, "."):
		return errors.New("it ends with a dot")
	case strings.Contains(ref, ".."):
		return errors.New(`it contains ".."`)
	case strings.Contains(ref, "@{"):
		return errors.New(`it contains "@{"`)
	}
	if i := strings.IndexFunc(ref, forbidden); i >= 0 {
		return fmt.Errorf("it contains %q, which a ref must not contain", ref[i])
	}
	for segment := range strings.SplitSeq(ref, "/") {
		if err := checkSegment(segment); err != nil {
			return err
		}
	}
	return nil
}

func checkSegment(s string) error {
	switch {
	case s == "":
		return errors.New("a part between slashes is empty")
	case s[0] == '.':
		return errors.New("a part between slashes starts with a dot")
	case strings.HasSuffix(s, ".lock"):
		return errors.New(`a part between slashes ends with ".lock"`)
	}
	return nil
}

// forbidden is git's list of characters that a ref may not contain.
func forbidden(r rune) bool {
	return r <= ' ' || r == 0x7f || strings.ContainsRune(`~^:?*[\`, r)
}
