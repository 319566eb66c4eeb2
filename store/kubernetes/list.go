package kubernetes

import (
	"context"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
)

const (
	// defaultPage keeps a page of the longest records below 4 MB.
	defaultPage = 250
	// maxStarts is how often a list is started again: a server keeps the state of a
	// list for some minutes only.
	maxStarts = 5
)

// List implements [store.Store]. The server leaves the values out. An object that has
// this store's labels but was changed by others ends the list with an error.
func (s *Store) List(ctx context.Context, below store.Prefix) iter.Seq2[store.Name, error] {
	return func(yield func(store.Name, error) bool) {
		for _, k := range kindsBelow(below) {
			q := question{kind: k, labels: s.place.labelsBelow(below), partial: true}
			for o, err := range s.objects(ctx, "list "+or(below.String(), "everything"), q) {
				if err == nil && !below.Has(o.name) {
					continue
				}
				if !yield(o.name, err) || err != nil {
					return
				}
			}
		}
	}
}

// Records implements [store.Ledger].
func (s *Store) Records(ctx context.Context) iter.Seq2[store.NamedEntry, error] {
	return func(yield func(store.NamedEntry, error) bool) {
		const what = "list ledger records"
		q := question{kind: secret, labels: s.place.labelsBelow(store.Workspaces())}
		q.labels[recordLabel] = "true"
		for o, err := range s.objects(ctx, what, q) {
			var entry store.Entry
			if err == nil {
				if entry, err = s.place.entry(o.object, o.name); err != nil {
					err = foreign(what, secret, o.object.Metadata.Name, err)
				}
			}
			if !yield(store.NamedEntry{Name: o.name, Entry: entry}, err) || err != nil && o.name.IsZero() {
				return
			}
		}
	}
}

// A question says what to list.
type question struct {
	kind    kind
	labels  map[string]string
	partial bool // without values
}

// wants returns the required kind of the answer, and the Accept header that asks for
// it.
func (q question) wants() (kind, accept string) {
	if q.partial {
		return partialKind + "List", partialList
	}
	return q.kind.name + "List", wholeType
}

// A listed object and the name of its entry.
type listed struct {
	name   store.Name
	object object
}

// objects yields each object once, page by page. A server drops the state of a list
// after some minutes (410); the list is then started again.
func (s *Store) objects(ctx context.Context, what string, q question) iter.Seq2[listed, error] {
	return func(yield func(listed, error) bool) {
		seen := map[store.Name]bool{}
		for starts, next := 1, ""; ; {
			began := time.Now()
			part, err := s.pageOf(ctx, what, q, next)
			took := time.Since(began)
			if is(err, expired) && next != "" && starts < maxStarts {
				starts, next = starts+1, ""
				continue
			}
			if err != nil {
				yield(listed{}, err)
				return
			}
			for _, o := range part.Items {
				name, err := s.place.nameOf(q.kind, o.Metadata)
				if err != nil {
					yield(listed{}, foreign(what, q.kind, o.Metadata.Name, err))
					return
				}
				if !seen[name] && !yield(listed{name, o}, nil) {
					return
				}
				seen[name] = true
			}
			if next = part.Metadata.Continue; next == "" {
				return
			}
			if err := store.Pause(ctx, took); err != nil {
				yield(listed{}, err)
				return
			}
		}
	}
}

func (s *Store) pageOf(ctx context.Context, what string, q question, next string) (page, error) {
	want, accept := q.wants()
	what += " of kubernetes://" + s.place.namespace
	c := call{what: what, verb: "list", method: http.MethodGet, namespace: s.place.namespace, kind: q.kind, accept: accept}
	c.query = url.Values{"labelSelector": {selector(q.labels)}, "limit": {strconv.Itoa(s.page)}}
	if next != "" {
		c.query.Set("continue", next)
	}
	body, err := s.ask(ctx, c)
	if err != nil {
		return page{}, err
	}
	answer, err := decodePage(body, want)
	if err != nil {
		return page{}, usererr.Wrap(what, err, "")
	}
	return answer, nil
}

// selector returns a label selector that requires all labels.
func selector(labels map[string]string) string {
	var text string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		text += "," + name + "=" + labels[name]
	}
	return text[1:]
}
