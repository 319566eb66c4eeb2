package workspace

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// schema is the version of the ledger record's form. A record of a later
// version is refused: acting on half of it could leave tokens alive.
const schema = 1

// A record of hundreds of repositories is longer than a store takes, and
// compresses well.
const (
	packed    = "gzip:"
	packAbove = 3 << 10 // bytes; below AWS's standard tier, with room for a line
	maxRecord = 1 << 20 // bytes, unpacked
)

// file is a Record as JSON.
type file struct {
	Schema int `json:"schema"`
	Record
	Seconds int64 `json:"margin_seconds,omitempty"` // Margin
}

// Encode returns the record as a store keeps it, unless ParseRecord would
// refuse it: JSON, or "gzip:" and base64 where it is long.
func (r *Record) Encode() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("the record of workspace %s: %w", r.ID, err)
	}
	f := file{Schema: schema, Record: *r, Seconds: int64(r.Margin / time.Second)}
	f.Created = r.Created.UTC()
	return f.fit()
}

func (f file) encode() ([]byte, error) {
	data, err := json.Marshal(f)
	if err != nil || len(data) <= packAbove {
		return data, err
	}
	return pack(data)
}

func pack(data []byte) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(packed)
	text := base64.NewEncoder(base64.StdEncoding, &b)
	z := gzip.NewWriter(text)
	_, err := z.Write(data)
	err = errors.Join(err, z.Close(), text.Close())
	return b.Bytes(), err
}

// unpack returns the JSON of a record.
func unpack(data []byte) ([]byte, error) {
	text, ok := strings.CutPrefix(string(data), packed)
	if !ok {
		return data, nil
	}
	z, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, strings.NewReader(text)))
	if err != nil {
		return nil, errors.New("the ledger record is damaged")
	}
	data, err = io.ReadAll(io.LimitReader(z, maxRecord+1))
	if err != nil || len(data) > maxRecord {
		return nil, errors.New("the ledger record is damaged or too long")
	}
	return data, nil
}

// A laterError is a record that a later gatepass wrote.
type laterError struct{ version int }

func (e laterError) Error() string {
	return fmt.Sprintf("the ledger record is of version %d, and this gatepass knows %d", e.version, schema)
}

// ParseRecord reads what Encode wrote.
func ParseRecord(data []byte) (*Record, error) {
	data, err := unpack(data)
	if err != nil {
		return nil, err
	}
	var version struct {
		Schema int `json:"schema"`
	}
	if err := json.Unmarshal(data, &version); err != nil {
		return nil, errors.New("the ledger record is no JSON")
	}
	if version.Schema > schema {
		return nil, laterError{version.Schema}
	}
	if version.Schema != schema {
		return nil, fmt.Errorf("the ledger record is of version %d, and this gatepass knows %d", version.Schema, schema)
	}
	var f file
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return nil, fmt.Errorf("the ledger record: %w", err)
	}
	f.Margin = time.Duration(f.Seconds) * time.Second
	if err := f.check(); err != nil {
		return nil, fmt.Errorf("the ledger record: %w", err)
	}
	return &f.Record, nil
}
