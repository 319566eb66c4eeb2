package kubernetes

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
)

// Swap implements [store.Swapper] by the object's resourceVersion, with one call. A
// change that others make to the object's labels or annotations is a change as well. If
// a write took place and its answer was lost, Swap recognizes the write by its annotation
// and succeeds.
func (s *Store) Swap(ctx context.Context, name store.Name, value store.Secret, version string, _ time.Time) (string, error) {
	what, err := s.what("write", name)
	if err != nil {
		return "", err
	}
	if err := value.Check(); err != nil {
		return "", usererr.Wrap(what, err, "")
	}
	if version != "" && !isVersion(version) {
		return "", &usererr.Error{Op: what, Err: store.ErrChanged}
	}
	o := s.place.newObject(name, value, rand.Text(), time.Now())
	var next string
	err = s.untilSeen(ctx, what, func(ctx context.Context) error {
		next, err = s.swap(ctx, what, name, o, version)
		return err
	})
	return next, err
}

func (s *Store) swap(ctx context.Context, what string, name store.Name, o object, version string) (string, error) {
	c := s.call(what, "create", http.MethodPost, name)
	c.object, c.body = "", o
	if version != "" {
		c = s.patch(what, name, o, version)
	}
	c.accept, c.query = partialType, url.Values{"fieldManager": {manager}}
	body, err := s.ask(ctx, c)
	if is(err, alreadyExists) || is(err, conflict) || isAbsent(err, c) {
		return s.swapped(ctx, what, name, o, version)
	}
	if err != nil {
		return "", err
	}
	written, err := decodeObject(body, partialKind)
	if err != nil {
		return "", usererr.Wrap(what, err, "")
	}
	if written.Metadata.Deleted != nil {
		return "", leaving(what)
	}
	return written.Metadata.ResourceVersion, nil
}

// isVersion reports whether a text is an object's version. With "0", the API server
// would overwrite any version.
func isVersion(text string) bool {
	n, err := strconv.ParseUint(text, 10, 64)
	return err == nil && n > 0
}

// patch changes the object if it has the version. It leaves what others added to the
// object.
func (s *Store) patch(what string, name store.Name, o object, version string) call {
	c := s.call(what, "patch", http.MethodPatch, name)
	c.sends = "application/merge-patch+json"
	c.body = object{
		Metadata: metadata{ResourceVersion: version, Labels: o.Metadata.Labels, Annotations: o.Metadata.Annotations},
		Data:     o.Data,
	}
	return c
}

// swapped returns the object's version if this write made it, or [store.ErrChanged]. A
// quota that others use at the same time can prevent the creation of an object.
func (s *Store) swapped(ctx context.Context, what string, name store.Name, o object, version string) (string, error) {
	there, err := s.found(ctx, what, name)
	switch {
	case err != nil:
		return "", err
	case there == nil && version == "":
		return "", errStale
	case there == nil || there.Annotations[writeNote] != o.Metadata.Annotations[writeNote]:
		return "", &usererr.Error{Op: what, Err: store.ErrChanged}
	}
	return there.ResourceVersion, nil
}

// An operation is one step of a JSON patch (RFC 6902). The server does all of them or none.
type operation struct {
	Op    string  `json:"op"`
	Path  string  `json:"path"`
	Value *string `json:"value"` // null if the field must be absent
}

// edit writes a value with one call into an existing object of this store. The server
// makes that comparison, so nothing is read first; it refuses any other object with 422
// ([isUnfit]). Additions by others stay.
func (s *Store) edit(ctx context.Context, what string, name store.Name, o object) error {
	c := s.call(what, "patch", http.MethodPatch, name)
	c.sends, c.accept, c.query = "application/json-patch+json", partialType, url.Values{"fieldManager": {manager}}
	c.body = s.place.edits(name, o)
	_, err := s.ask(ctx, c)
	return err
}

// edits returns the steps that write what newObject made.
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

// pointer escapes a key for a JSON pointer (RFC 6901).
var pointer = strings.NewReplacer("~", "~0", "/", "~1")

func step(op, below, key, value string) operation {
	return operation{op, below + pointer.Replace(key), &value}
}

// isUnfit reports whether the server refused an edit: the object is not this store's,
// is being deleted, or cannot be changed.
func isUnfit(err error) bool {
	r, ok := errors.AsType[*refusal](err)
	return ok && r.code == http.StatusUnprocessableEntity
}
