package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/internal/usererr"
)

// A line is, letter for letter:
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

	// maxLine bounds a line, in bytes. An entry is far shorter: see Bound.
	maxLine = 64 << 10
)

// The kinds of lines that are about the log itself. The others are those of
// package broker.
const (
	KindHead      = "head"      // the first line of every file
	KindTruncated = "truncated" // the line before it was cut off, by a crash or from outside
	KindRecovered = "recovered" // the log could not be written for a while
)

// A Record is one line, as it is read.
type Record struct {
	Seq  uint64 `json:"seq"`
	Prev string `json:"prev"` // hash of the line before; noHash where there was none
	broker.Entry
	Note
	Hash string `json:"hash"`
}

// A Note is what lines about the log itself say.
type Note struct {
	File      string `json:"file,omitempty"`      // of a head: the file before this one
	Lost      int64  `json:"lost,omitempty"`      // bytes of whole lines that somebody took out of the file
	Torn      []byte `json:"torn,omitempty"`      // what stood in a line that was cut off
	Refused   uint64 `json:"refused,omitempty"`   // entries that could not be written
	Uncertain uint64 `json:"uncertain,omitempty"` // the first line that may not have reached the disk
	Trouble   string `json:"trouble,omitempty"`   // what was wrong
	Version   string `json:"version,omitempty"`   // of a head: the program that began it
	// Shortened names the fields that did not fit; see Bound.
	Shortened []string `json:"shortened,omitempty"`
}

// noHash stands where a chain begins.
const noHash = "0000000000000000000000000000000000000000000000000000000000000000"

// content is a line before it has a place in the chain.
type content struct {
	broker.Entry
	Note
}

// body is content as JSON that may be shown on a terminal.
func (c content) body() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // each would be six bytes
	if err := enc.Encode(c); err != nil {
		return nil, err
	}
	return usererr.JSON(bytes.TrimSuffix(b.Bytes(), []byte{'\n'})), nil
}

// encode gives content its place in the chain. The text ends with a line break.
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
		return nil, "", fmt.Errorf("an entry of %d bytes is longer than a line may be", len(text))
	}
	return append(text, '\n'), hash, nil
}

func sum(text []byte) string {
	s := sha256.Sum256(text)
	return hex.EncodeToString(s[:])
}

// The ways in which a line is wrong by itself.
var (
	errForm = errors.New("it is not a line of an audit log")
	errHash = errors.New("its hash does not hold: it was changed")
)

// parse reads a line without its line break, and checks its hash.
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

// follows says what is wrong where r comes after the line of seq and hash.
func (r Record) follows(seq uint64, hash string) error {
	switch {
	case r.Seq == seq+1 && r.Prev == hash:
		return nil
	case r.Seq == seq+1:
		return fmt.Errorf("line %d was replaced: the next does not know it", seq)
	case r.Seq <= seq:
		return fmt.Errorf("it is number %d after number %d: lines are repeated or in another order", r.Seq, seq)
	}
	return fmt.Errorf("it is number %d after number %d: lines are missing or in another order", r.Seq, seq)
}
