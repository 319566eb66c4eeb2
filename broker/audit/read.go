package audit

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/internal/usererr"
)

// A Broken is the error for a line where the chain does not hold.
type Broken struct {
	File string
	Line int // from 1
	Why  error
}

func (b *Broken) Error() string { return fmt.Sprintf("%s: line %d: %v", b.File, b.Line, b.Why) }

// Unwrap returns the reason.
func (b *Broken) Unwrap() error { return b.Why }

// A Report is what Verify found in an intact chain.
type Report struct {
	Lines       uint64
	First, Last uint64 // numbers of the first and the last line
	Prev        string // the hash before the first line; noHash if the chain begins with it
	Head        string // hash of the last line
	Notes       []string
}

// IsWhole reports whether the files contain the beginning of the chain.
func (r Report) IsWhole() bool { return r.Prev == noHash }

// ErrTorn is the error of a last line that was cut off.
var ErrTorn = errors.New("it is incomplete: the broker stopped while it wrote the line, and repairs it at its next start")

// Verify checks that the files, in this order, are one chain. It finds every line that
// was changed, dropped, repeated or moved, except lines missing at the end: compare the
// Report's Head with a copy to find those. If the chain is broken, the error is a
// [*Broken].
func Verify(paths ...string) (Report, error) {
	var v verifier
	for _, path := range paths {
		if err := v.file(path); err != nil {
			return v.Report, err
		}
	}
	return v.Report, nil
}

// verifier checks lines one by one.
type verifier struct{ Report }

func (v *verifier) file(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err // its text names the file
	}
	defer f.Close()
	return v.read(path, f)
}

func (v *verifier) read(path string, in io.Reader) error {
	n := 0
	for text, err := range lines(in) {
		n++
		if err == nil {
			err = v.line(n, text)
		}
		if err != nil {
			return &Broken{path, n, err}
		}
	}
	if n == 0 {
		return &Broken{path, 1, errors.New("the file is empty")}
	}
	return nil
}

// line checks the nth line of a file.
func (v *verifier) line(n int, text []byte) error {
	r, err := parse(text)
	if err != nil {
		return err
	}
	switch {
	case n == 1 && r.Kind != KindHead:
		return errors.New("it is not the head of a file: lines before it are missing")
	case n > 1 && r.Kind == KindHead:
		return errors.New("it is the head of a file: files were joined")
	case v.Lines > 0 && r.Prev == noHash:
		return fmt.Errorf("another chain begins here, after number %d: verify its files separately", v.Last)
	case v.Lines == 0:
		v.First, v.Prev = r.Seq, r.Prev
		if (r.Prev == noHash) != (r.Seq == 1) {
			return errors.New("it says both that it begins a chain and that it does not")
		}
	default:
		if err := r.follows(v.Last, v.Head); err != nil {
			return err
		}
	}
	v.Lines++
	v.Last, v.Head = r.Seq, r.Hash
	if r.Kind == KindTruncated || r.Kind == KindRecovered || r.Lost > 0 {
		v.Notes = append(v.Notes, fmt.Sprintf("number %d, %s: %s", r.Seq, r.Time.Format("2006-01-02 15:04:05"), usererr.Escape(r.Detail)))
	}
	return nil
}

// lines yields the lines of a file, without line breaks. A last line without a line
// break, and a line that is too long, yield an error.
func lines(r io.Reader) func(yield func([]byte, error) bool) {
	return func(yield func([]byte, error) bool) {
		in := bufio.NewReaderSize(r, maxLine)
		for {
			text, err := in.ReadSlice('\n')
			switch {
			case err == nil:
				if !yield(text[:len(text)-1], nil) {
					return
				}
				continue
			case errors.Is(err, io.EOF) && len(text) == 0:
				return
			case errors.Is(err, io.EOF):
				err = ErrTorn
			case errors.Is(err, bufio.ErrBufferFull):
				err = errForm
			}
			yield(text, err)
			return
		}
	}
}

// A Line is one line of a log, parsed and as text without the line break.
type Line struct {
	Record
	Text []byte // valid until the next line is read
}

// Read yields the lines of a log. A malformed or changed line yields an error and ends
// it. Read does not check the chain: Verify does.
func Read(in io.Reader) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		for text, err := range lines(in) {
			var r Record
			if err == nil {
				r, err = parse(text)
			}
			if !yield(Line{r, text}, err) || err != nil {
				return
			}
		}
	}
}

// A Filter selects lines. An empty field matches every line.
type Filter struct {
	Workspace, Decision, Reason, Kind string
	Repository                        string // owner/name, in any case, or its id
	Hash                              string // of a token, in the form of GitHub's audit log
	Since, Until                      time.Time
}

// written maps today's words to those in the log. The log keeps the earlier words, so
// that searches of earlier versions still find its lines.
var written = map[string]string{"blocked": broker.KindBlocked, "unblocked": broker.KindUnblocked}

func spelled(word string) string { return cmp.Or(written[word], word) }

// Word returns today's word for a kind or a reason of the log, for people and searches.
func Word(spelled string) string {
	for today, word := range written {
		if word == spelled {
			return today
		}
	}
	return spelled
}

// Match reports whether the filter selects r.
func (f Filter) Match(r Record) bool {
	for _, c := range []struct{ want, is string }{
		{f.Workspace, r.about()}, {f.Decision, r.Decision}, {spelled(f.Reason), r.Reason}, {spelled(f.Kind), r.Kind}, {f.Hash, r.Entry.Hash},
	} {
		if c.want != "" && c.want != c.is {
			return false
		}
	}
	return f.isOf(r) && !r.Time.Before(f.Since) && (f.Until.IsZero() || r.Time.Before(f.Until))
}

// about returns the workspace that r is about: its own, or the one that an operator blocked
// or unblocked; "" if there is none.
func (r Record) about() string {
	if id, ok := strings.CutPrefix(r.Target, "workspace "); ok && r.Workspace == "" {
		return id
	}
	return r.Workspace
}

// isOf reports whether r is about the filter's repository.
func (f Filter) isOf(r Record) bool {
	id := strconv.FormatInt(r.RepositoryID, 10)
	return f.Repository == "" || strings.EqualFold(f.Repository, r.Repository) || r.RepositoryID != 0 && f.Repository == id
}
