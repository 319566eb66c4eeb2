package audit

import (
	"io"
	"iter"
	"strconv"
	"strings"
	"time"
)

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

// Match reports whether a line is one of those.
func (f Filter) Match(r Record) bool {
	for _, c := range []struct{ want, is string }{
		{f.Workspace, r.Workspace}, {f.Decision, r.Decision}, {f.Reason, r.Reason}, {f.Kind, r.Kind}, {f.Hash, r.Entry.Hash},
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
