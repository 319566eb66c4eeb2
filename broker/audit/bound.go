package audit

import (
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/internal/usererr"
)

// The limits of an entry's texts, in bytes of the written line: what JSON escapes
// counts as it is written. A line with all of them is far below maxLine.
const (
	maxText  = 512
	maxRef   = 1024
	maxKey   = 128
	maxPairs = 4 << 10 // of one map, keys and values together
	cutMark  = "…"     // ends a text that was shortened
)

// Bound returns e as it is written: its outside texts without secrets, every text
// within its limit, and every moment within what JSON can write. shortened names
// the fields that lost something.
func Bound(e broker.Entry) (bounded broker.Entry, shortened []string) {
	b := new(bounding)
	for name, text := range map[string]*string{
		"kind": &e.Kind, "request_id": &e.RequestID, "workspace": &e.Workspace, "method": &e.Method, "rule": &e.Rule, "policy": &e.Policy, "remote": &e.Remote,
		"host": &e.Host, "repository": &e.Repository, "decision": &e.Decision, "reason": &e.Reason, "app": &e.App, "hashed_token": &e.Hash,
		"old": &e.Old, "new": &e.New, "outcome": &e.Outcome,
	} {
		*text = b.keep(name)(cut(*text, maxText))
	}
	for name, text := range map[string]*string{"subject": &e.Subject, "target": &e.Target, "operation": &e.Operation, "detail": &e.Detail} {
		*text = b.keep(name)(plain(*text, maxText))
	}
	e.Ref = b.keep("ref")(plain(e.Ref, maxRef))
	e.Claims, e.Permissions = b.pairs("claims", e.Claims), b.pairs("permissions", e.Permissions)
	b.moment("time", &e.Time)
	b.moment("expires_at", &e.Expires)
	slices.Sort(b.shortened)
	return e, b.shortened
}

// bounding remembers what was shortened.
type bounding struct{ shortened []string }

// keep remembers the name of a field whose text was cut.
func (b *bounding) keep(name string) func(short string, isCut bool) string {
	return func(short string, isCut bool) string {
		if isCut {
			b.shortened = append(b.shortened, name)
		}
		return short
	}
}

// pairs returns a map that is within maxPairs.
func (b *bounding) pairs(name string, m map[string]string) map[string]string {
	if m == nil {
		return nil
	}
	bounded := make(map[string]string, len(m))
	left, isShort := maxPairs, false
	for _, key := range slices.Sorted(maps.Keys(m)) {
		short, isCut := cut(key, maxKey)
		value, isCutToo := plain(m[key], maxText)
		if left -= size(short) + size(value); left < 0 {
			isShort = true
			break
		}
		bounded[short], isShort = value, isShort || isCut || isCutToo
	}
	if isShort {
		b.shortened = append(b.shortened, name)
	}
	return bounded
}

// moment leaves out what time.Time cannot write as JSON.
func (b *bounding) moment(name string, t *time.Time) {
	if _, err := t.MarshalJSON(); err != nil {
		b.shortened, *t = append(b.shortened, name), time.Time{}
	}
}

// plain is cut for a text that may hold a secret. Nothing is looked for in what is
// cut off anyway.
func plain(text string, max int) (short string, isCut bool) {
	head := text[:min(len(text), 4*max)]
	short, isCut = cut(redact.Text(head, len(head)), max)
	return short, isCut || len(head) < len(text)
}

// cut shortens a text to max bytes of a line.
func cut(text string, max int) (short string, isCut bool) {
	head := strings.ToValidUTF8(text[:min(len(text), 2*max)], "\ufffd")
	if len(text) <= 2*max && size(head) <= max {
		return head, false
	}
	left := max - len(cutMark)
	for i, r := range head {
		if left -= width(r); left < 0 {
			return head[:i] + cutMark, true
		}
	}
	return head + cutMark, true
}

// size is how many bytes of a line a text takes.
func size(text string) (n int) {
	for _, r := range text {
		n += width(r)
	}
	return n
}

// width is how many bytes of a line a character takes at most.
func width(r rune) int {
	switch {
	case r == '"' || r == '\\':
		return len(`\"`)
	case r < ' ':
		return len(`\u0000`)
	case r < utf8.RuneSelf-1:
		return 1
	}
	return len(usererr.JSON(utf8.AppendRune(nil, r)))
}
