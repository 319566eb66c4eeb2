package kubernetes

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/store"
)

// An operation is one step of a JSON patch (RFC 6902). The server does all of them or none.
type operation struct {
	Op    string  `json:"op"`
	Path  string  `json:"path"`
	Value *string `json:"value"` // null for what must not be there
}

// edit writes a value with one call into an object that is this store's and stays. The
// server compares that, so that nothing is read first; any other object it refuses with
// 422 ([isUnfit]). What others added to the object stays.
func (s *Store) edit(ctx context.Context, what string, name store.Name, o object) error {
	c := s.call(what, "patch", http.MethodPatch, name)
	c.sends, c.accept, c.query = "application/json-patch+json", partialType, url.Values{"fieldManager": {manager}}
	c.body = s.place.edits(name, o)
	_, err := s.ask(ctx, c)
	return err
}

// edits are the steps that write what newObject made.
func (p place) edits(name store.Name, o object) []operation {
	steps := []operation{{Op: "test", Path: "/metadata/deletionTimestamp"}}
	for key, value := range p.ownLabels() {
		steps = append(steps, step("test", "/metadata/labels/", key, value))
	}
	steps = append(steps, step("test", "/metadata/annotations/", nameNote, name.String()), step("test", "/metadata/annotations/", prefixNote, p.prefix))
	for below, fields := range map[string]map[string]string{"/metadata/labels/": o.Metadata.Labels, "/metadata/annotations/": o.Metadata.Annotations, "/data/": o.Data} {
		for _, key := range slices.Sorted(maps.Keys(fields)) {
			steps = append(steps, step("add", below, key, fields[key])) // or replace
		}
	}
	return steps
}

// pointer writes a key as a part of a JSON pointer (RFC 6901).
var pointer = strings.NewReplacer("~", "~0", "/", "~1")

func step(op, below, key, value string) operation {
	return operation{op, below + pointer.Replace(key), &value}
}

// isUnfit reports that the server did not take an edit: the object is not this store's, is
// being deleted, or takes no change.
func isUnfit(err error) bool {
	r, ok := errors.AsType[*refusal](err)
	return ok && r.code == http.StatusUnprocessableEntity
}
