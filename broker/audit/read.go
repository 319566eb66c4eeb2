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

// A Broken is a place where a log is not what was written.
type Broken struct {
	File string
	Line int // from 1
	Why  error
}

func (b *Broken) Error() string { return fmt.Sprintf("%s: line %d: %v", b.File, b.Line, b.Why) }

// Unwrap returns why.
func (b *Broken) Unwrap() error { return b.Why }

// A Report is what Verify found of a chain that holds.
type Report struct {
	Lines       uint64
	First, Last uint64 // numbers of the first and the last line
	Prev        string // the hash that the first line goes on from; noHash at the beginning of a chain
	Head        string // hash of the last line
	Notes       []string
}

// IsWhole reports whether the chain begins where the first file does.
func (r Report) IsWhole() bool { return r.Prev == noHash }

// ErrTorn is about a last line without its end.
var ErrTorn = errors.New("it is cut off: the broker ended while it wrote, and repairs it when it starts again")

// Verify checks that the files are one chain, in their order. Every line that was
// changed, dropped, repeated or moved is found, but for lines missing at the end:
// those are found by comparing the head with one that somebody remembered. The
// error is a [*Broken] where the chain does not hold.
func Verify(paths ...string) (Report, error) {
	var v verifier
	for _, path := range paths {
		if err := v.file(path); err != nil {
			return v.Report, err
		}
	}
	return v.Report, nil
}

// verifier is somewhere in a chain.
type verifier struct{ Report }

func (v *verifier) file(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err // which names the file
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

// line takes the nth line of a file.
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
		return fmt.Errorf("another chain begins here, after number %d: verify its files by themselves", v.Last)
	case v.Lines == 0:
		v.First, v.Prev = r.Seq, r.Prev
		if (r.Prev == noHash) != (r.Seq == 1) {
			return errors.New("it begins a chain and does not")
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

// lines yields the lines of a file without their breaks. The last one without a
// break is an error, as one is that is too long.
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

// A Line is one that was read, and its text without the line break.
type Line struct {
	Record
	Text []byte // valid until the next is read
}

// Read yields the lines of a log. What is no line, or was changed, is an error
// that ends it; that the lines are one chain is for Verify.
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

// A Filter chooses lines. Fields that are empty are for all.
type Filter struct {
	Workspace, Decision, Reason, Kind string
	Repository                        string // owner/name, in any case, or its id
	Hash                              string // of a token, as in GitHub's audit log
	Since, Until                      time.Time
}

// written is how the log spells what is called otherwise now: lines keep their spelling, so
// that the searches of earlier versions find them.
var written = map[string]string{"blocked": broker.KindBlocked, "unblocked": broker.KindUnblocked}

func spelled(word string) string { return cmp.Or(written[word], word) }

// Match reports whether a line is one of those.
func (f Filter) Match(r Record) bool {
	for _, c := range []struct{ want, is string }{
		{f.Workspace, r.Workspace}, {f.Decision, r.Decision}, {spelled(f.Reason), r.Reason}, {spelled(f.Kind), r.Kind}, {f.Hash, r.Entry.Hash},
	} {
		if c.want != "" && c.want != c.is {
			return false
		}
	}
	return f.isOf(r) && !r.Time.Before(f.Since) && (f.Until.IsZero() || r.Time.Before(f.Until))
}

// isOf reports whether a line is about the filter's repository.
func (f Filter) isOf(r Record) bool {
	id := strconv.FormatInt(r.RepositoryID, 10)
	return f.Repository == "" || strings.EqualFold(f.Repository, r.Repository) || r.RepositoryID != 0 && f.Repository == id
}
