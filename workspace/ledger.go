package workspace

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/gatepass/gatepass/internal/clock"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
)

// A ledger reads and writes the records of all workspaces.
type ledger struct {
	store store.Store
	clock ledgerClock

	margin, grace time.Duration // for records without their own values
	adopt         bool
	tenure        *lockTenure // of the run that writes; nil if nothing is written
}

// load reads a workspace's record. The error wraps [store.ErrNotFound] if there is
// none.
func (l ledger) load(ctx context.Context, id string) (*Record, error) {
	name, err := store.Record(id)
	if err != nil {
		return nil, err
	}
	entry, err := l.store.Get(ctx, name)
	return readRecord(id, entry, err)
}

// readRecord parses the record of a workspace; err is the store's error.
func readRecord(id string, entry store.Entry, err error) (*Record, error) {
	if err != nil && !errors.Is(err, store.ErrDamaged) {
		return nil, err
	}
	var r *Record
	if err == nil {
		r, err = ParseRecord([]byte(entry.Value.Reveal()))
	}
	if err == nil && r.ID != id {
		err = fmt.Errorf("the ledger record belongs to workspace %s", r.ID)
	}
	if _, isLater := errors.AsType[laterError](err); isLater {
		return nil, usererr.Wrap("read workspace "+id, err, "use the version of gatepass that wrote it")
	}
	if err != nil {
		return nil, &usererr.Error{Op: "read workspace " + id, Err: damagedError{err}, Hint: "destroy it and create it again: gatepass workspace destroy " + id}
	}
	r.version.stored = entry.Version
	return r, nil
}

// A damagedError says what is wrong with a record that gatepass cannot have written.
type damagedError struct{ error }

func (d damagedError) Unwrap() error { return d.error }

// A version records which version of a record a run has read or written. The zero
// version means that there was no record.
type version struct {
	stored string
	// unsure is the value of a failed write that may have happened all the same.
	unsure string
	// isUnknown means that the record in the store could not be read. It is then
	// replaced.
	isUnknown bool
}

// save writes the record before the actions that it announces. If the store compares
// versions and another run has changed the record, it writes nothing and returns an
// error that wraps [ErrBusy]. It writes nothing after the end of the run's time.
func (l ledger) save(ctx context.Context, r *Record) error {
	if err := l.tenure.check(); err != nil {
		return err
	}
	name, err := store.Record(r.ID)
	if err != nil {
		return err
	}
	data, err := r.Encode()
	if err != nil {
		return err
	}
	value, due := store.NewSecret(string(data)), r.due(l.want(r, nil))
	if s, ok := l.store.(store.Swapper); ok && !r.version.isUnknown {
		return l.swap(ctx, s, name, r, value, due)
	}
	err = store.PutDue(ctx, l.store, name, value, store.Replace, due)
	r.isDirty = r.isDirty && err != nil
	return err
}

func (l ledger) swap(ctx context.Context, s store.Swapper, name store.Name, r *Record, value store.Secret, due time.Time) error {
	if r.version.unsure != "" {
		entry, err := l.store.Get(ctx, name)
		switch {
		case err == nil && entry.Value.Reveal() == r.version.unsure:
			r.version.stored = entry.Version
		case err != nil && !errors.Is(err, store.ErrNotFound):
			return err
		}
	}
	stored, err := s.Swap(ctx, name, value, r.version.stored, due)
	switch {
	case errors.Is(err, store.ErrChanged):
		return busy(r.ID, 0)
	case err != nil:
		r.version.unsure = value.Reveal()
		return err
	}
	r.version, r.isDirty = version{stored: stored}, false
	return nil
}

// A Found is the record of one workspace, or the error of reading it: one line that
// says what to do.
type Found struct {
	ID     string
	Record *Record
	Err    error
}

// Reason returns Err without the workspace and the hint, for callers that add both.
func (f Found) Reason() error {
	if damage, ok := errors.AsType[damagedError](f.Err); ok {
		return damage
	}
	if later, ok := errors.AsType[laterError](f.Err); ok {
		return later
	}
	return f.Err
}

// Records yields the records of [store.Records], including those that cannot be read.
// It ends with the first error of the store.
func Records(ctx context.Context, s store.Store) iter.Seq2[Found, error] {
	return found(store.Records(ctx, s))
}

// found parses the records among entries.
func found(entries iter.Seq2[store.NamedEntry, error]) iter.Seq2[Found, error] {
	return func(yield func(Found, error) bool) {
		for entry, err := range entries {
			if err != nil && entry.Name.IsZero() {
				yield(Found{}, err)
				return
			}
			if !entry.Name.IsRecord() {
				continue
			}
			f := Found{}
			f.ID, _ = entry.Name.Workspace()
			f.Record, f.Err = readRecord(f.ID, entry.Entry, err)
			if !yield(f, nil) {
				return
			}
		}
	}
}

// schema is the version of the format of records. A record of a later version is
// refused: acting on a part of it could leave tokens alive.
const schema = 1

// A record with hundreds of repositories is longer than a store allows, and compresses
// well.
const (
	packed    = "gzip:"
	packAbove = 3 << 10 // bytes; below AWS's standard tier, with room for another line
	maxRecord = 1 << 20 // bytes, unpacked
)

// file is a Record as JSON.
type file struct {
	Schema int `json:"schema"`
	Record
	Seconds int64 `json:"margin_seconds,omitempty"` // Margin
}

// Encode returns the record in the form for a store: JSON, or "gzip:" and base64 if it
// is long. It returns an error if ParseRecord would refuse it.
func (r *Record) Encode() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("the record of workspace %s: %w", r.ID, err)
	}
	f := file{Schema: schema, Record: *r, Seconds: int64(r.Margin / time.Second)}
	f.Created = r.Created.UTC()
	return f.encodeFitting()
}

// encodeFitting encodes a record with as much of its history as fits: the history never makes a
// record longer than a store allows, or a free one cost money.
func (f file) encodeFitting() ([]byte, error) {
	whole := f.History
	for _, limit := range []int{freeSize, store.MaxValue} {
		for f.History = whole; ; f.History = f.History[(len(f.History)+1)/2:] {
			data, err := f.encode()
			if err != nil || len(data) <= limit {
				return data, err
			}
			if len(f.History) == 0 {
				break
			}
		}
	}
	return f.encode()
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

// A laterError reports a record that a later version of gatepass wrote.
type laterError struct{ version int }

func (e laterError) Error() string {
	return fmt.Sprintf("the ledger record has version %d, but this gatepass knows version %d", e.version, schema)
}

// ParseRecord reads the output of Encode.
func ParseRecord(data []byte) (*Record, error) {
	data, err := unpack(data)
	if err != nil {
		return nil, err
	}
	var version struct {
		Schema int `json:"schema"`
	}
	if err := json.Unmarshal(data, &version); err != nil {
		return nil, errors.New("the ledger record is not JSON")
	}
	if version.Schema > schema {
		return nil, laterError{version.Schema}
	}
	if version.Schema != schema {
		return nil, fmt.Errorf("the ledger record has version %d, but this gatepass knows version %d", version.Schema, schema)
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

func (r *Record) check() error {
	bad := []error{store.CheckWorkspace(r.ID), checkMargin(r.Margin)}
	bad = append(bad, r.Access.Check())
	for _, t := range r.Tokens {
		bad = append(bad, t.check())
	}
	return usererr.Join(bad...)
}

func (t Token) check() error {
	known := t.State == Minted || t.State == Delivered || t.State == Superseded
	switch {
	case !slices.Contains(states, t.State):
		return fmt.Errorf("a token has the unknown state %q", t.State)
	case t.Owner == "" || t.Changed.IsZero():
		return errors.New("a token has no owner or no date")
	case t.State == Minting && t.Installation <= 0, known && (t.Hash == "" || t.Expires.IsZero() || t.Installation <= 0):
		return fmt.Errorf("a token that is %s has no hash, expiry or installation", t.State)
	}
	return nil
}

// CheckMargin returns an error for a margin that is impossible for tokens of an hour.
func CheckMargin(d time.Duration) error {
	if d < time.Minute || d > MaxMargin || d%time.Second != 0 {
		return fmt.Errorf("a margin must be from 1m to %s in whole seconds, not %s", MaxMargin, d)
	}
	return nil
}

// MaxMargin leaves ten minutes before a new token is replaced.
const MaxMargin = 50 * time.Minute

func checkMargin(d time.Duration) error {
	if d == 0 {
		return nil
	}
	return CheckMargin(d)
}

// A lockTenure is the time that a run has for its work.
type lockTenure struct {
	// end is the end of that time. While the machine is suspended, the end of the run's
	// context is delayed, but other runs do not wait longer.
	end      time.Time
	clock    ledgerClock
	tookOver bool // from a run that was killed
}

// check returns an error if the run has no time left by the wall clock. A nil tenure
// has no limit.
func (t *lockTenure) check() error {
	if t == nil || clock.Left(t.end, t.clock.machine()) <= 0 {
		return context.DeadlineExceeded
	}
	return nil
}

// ErrBusy reports that another run works on the workspace.
var ErrBusy = errors.New("another run works on it")

// busy returns the error of a workspace that another run holds; nil if the lock is our
// own.
func busy(id string, left time.Duration) error {
	if left < 0 {
		return nil // AWS repeats a write whose answer was lost
	}
	do := "try again"
	if left > 0 {
		do += ", in " + left.Round(time.Second).String() + " at the latest"
	}
	return &usererr.Error{Op: "work on workspace " + id, Err: ErrBusy, Hint: do}
}
