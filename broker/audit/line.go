package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/internal/usererr"
)

// A line has exactly this form:
//
//	{"seq":7,"prev":"<hash of the line before>", … ,"hash":"<hash>"}
//
// hash is the SHA-256, in lower-case hexadecimal, of everything before `,"hash"`.
const (
	seqKey   = `{"seq":`
	prevKey  = `,"prev":"`
	hashKey  = `,"hash":"`
	lineEnd  = `"}`
	hashSize = 2 * sha256.Size

	// maxLine is the maximum length of a line, in bytes. Entries are far shorter: see
	// Bound.
	maxLine = 64 << 10
)

// The kinds of lines about the log itself. Package broker defines the others.
const (
	KindHead      = "head"      // the first line of every file
	KindTruncated = "truncated" // the line before was cut off, by a crash or by another program
	KindRecovered = "recovered" // the log could not be written for some time
)

// A Record is one line of the log, parsed.
type Record struct {
	Seq  uint64 `json:"seq"`
	Prev string `json:"prev"` // hash of the line before; noHash if there is none
	broker.Entry
	Note
	Hash string `json:"hash"`
}

// A Note is what a line about the log itself says.
type Note struct {
	File      string `json:"file,omitempty"`      // in a head: the name of the file before
	Lost      int64  `json:"lost,omitempty"`      // bytes of whole lines that another program removed from the file
	Torn      []byte `json:"torn,omitempty"`      // the text of a line that was cut off
	Refused   uint64 `json:"refused,omitempty"`   // entries that could not be written
	Uncertain uint64 `json:"uncertain,omitempty"` // the first line that may not be on disk
	Trouble   string `json:"trouble,omitempty"`   // the error
	Version   string `json:"version,omitempty"`   // in a head: the version of the program that wrote it
	// Shortened names the fields that were shortened; see Bound.
	Shortened []string `json:"shortened,omitempty"`
}

// noHash is the hash before the first line of a chain.
const noHash = "0000000000000000000000000000000000000000000000000000000000000000"

// content is a line before it gets its number and hashes.
type content struct {
	broker.Entry
	Note
}

// body returns content as JSON that is safe to show in a terminal.
func (c content) body() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // an escape takes six bytes
	if err := enc.Encode(c); err != nil {
		return nil, err
	}
	return usererr.JSON(bytes.TrimSuffix(b.Bytes(), []byte{'\n'})), nil
}

// encode returns content as a line of the chain, with its line break, and the line's
// hash.
func encode(seq uint64, prev string, c content) (text []byte, hash string, err error) {
	body, err := c.body()
	if err != nil {
		return nil, "", err
	}
	text = make([]byte, 0, len(body)+2*hashSize+64)
	text = append(text, seqKey...)
	text = strconv.AppendUint(text, seq, 10)
	text = append(text, prevKey...)
	text = append(text, prev...)
	text = append(text, '"', ',')
	text = append(text, body[1:len(body)-1]...)
	hash = sum(text)
	text = append(text, hashKey...)
	text = append(text, hash...)
	text = append(text, lineEnd...)
	if len(text) >= maxLine {
		return nil, "", fmt.Errorf("an entry of %d bytes is too long for a line", len(text))
	}
	return append(text, '\n'), hash, nil
}

func sum(text []byte) string {
	s := sha256.Sum256(text)
	return hex.EncodeToString(s[:])
}

// The errors of a single line.
var (
	errForm = errors.New("it is not a line of an audit log")
	errHash = errors.New("its hash is wrong: the line was changed")
)

// parse reads a line, without its line break, and checks its hash.
func parse(text []byte) (Record, error) {
	at := len(text) - len(hashKey) - hashSize - len(lineEnd)
	if at < 0 || len(text) >= maxLine || !bytes.HasPrefix(text, []byte(seqKey)) || !bytes.HasPrefix(text[at:], []byte(hashKey)) || !bytes.HasSuffix(text, []byte(lineEnd)) {
		return Record{}, errForm
	}
	if string(text[at+len(hashKey):len(text)-len(lineEnd)]) != sum(text[:at]) {
		return Record{}, errHash
	}
	var r Record
	if err := json.Unmarshal(text, &r); err != nil {
		return Record{}, errForm
	}
	head := strconv.AppendUint([]byte(seqKey), r.Seq, 10)
	head = append(append(append(head, prevKey...), r.Prev...), '"')
	if len(r.Prev) != hashSize || !bytes.HasPrefix(text, head) {
		return Record{}, errForm
	}
	return r, nil
}

// follows returns an error unless r may come directly after line seq with that hash.
func (r Record) follows(seq uint64, hash string) error {
	switch {
	case r.Seq == seq+1 && r.Prev == hash:
		return nil
	case r.Seq == seq+1:
		return fmt.Errorf("line %d was replaced: its hash is not the one in the next line", seq)
	case r.Seq <= seq:
		return fmt.Errorf("it is number %d after number %d: lines are repeated or in another order", r.Seq, seq)
	}
	return fmt.Errorf("it is number %d after number %d: lines are missing or in another order", r.Seq, seq)
}

// The limits of an entry's texts, in bytes as written, with JSON's escapes. A line in
// which all texts are at their limit is far below maxLine.
const (
	maxText  = 512
	maxRef   = 1024
	maxKey   = 128
	maxPairs = 4 << 10 // of one map: keys and values together
	cutMark  = "…"     // the end of a shortened text
)

// Bound returns e as it is written: without secrets in texts from outside, every text
// within its limit, and every time in a form that JSON can write. shortened names the
// fields that lost something.
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

// bounding collects the names of shortened fields.
type bounding struct{ shortened []string }

// keep returns a function that passes a text on, and adds name to the shortened fields
// if it was cut.
func (b *bounding) keep(name string) func(short string, isCut bool) string {
	return func(short string, isCut bool) string {
		if isCut {
			b.shortened = append(b.shortened, name)
		}
		return short
	}
}

// pairs returns m, cut to maxPairs bytes.
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

// moment clears a time that cannot be written as JSON.
func (b *bounding) moment(name string, t *time.Time) {
	if _, err := t.MarshalJSON(); err != nil {
		b.shortened, *t = append(b.shortened, name), time.Time{}
	}
}

// plain is cut for a text that may hold a secret, which it redacts. It does not search
// what is cut off anyway.
func plain(text string, max int) (short string, isCut bool) {
	head := text[:min(len(text), 4*max)]
	short, isCut = cut(redact.Text(head, len(head)), max)
	return short, isCut || len(head) < len(text)
}

// cut shortens a text to max bytes as written.
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

// size returns how many bytes a text takes in a line.
func size(text string) (n int) {
	for _, r := range text {
		n += width(r)
	}
	return n
}

// width returns the most bytes that a character takes in a line.
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
