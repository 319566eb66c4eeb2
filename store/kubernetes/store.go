// Package kubernetes stores the secrets and records of the issuing side as objects in
// one namespace of a Kubernetes cluster:
//
//	kubernetes://NAMESPACE[/PREFIX]?context=…&kubeconfig=…
//
// Each entry is a separate object, a Secret of type gatepass.dev/entry. Brokers'
// markers without secrets (blocks, webhook deliveries, used proofs and used join
// tokens) are ConfigMaps, because brokers list them often, and the API server reads all
// Secrets of the namespace to list some of them.
//
// This package has no source for workspaces. A Role can allow a workspace to read one
// Secret by its name, so each token would need its own Role. Besides, a pod has an
// identity that a broker accepts: its service account.
//
// client-go reads configuration and credentials, as in kubectl. Its typed clients would
// link every kind of the API; this package needs five verbs on two kinds and sends
// plain JSON.
package kubernetes

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/gatepass/gatepass/internal/httpclient"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
)

// maxTries is how often a write is tried while others write at the same time.
const maxTries = 20

// A Store stores every entry as an object. It replaces and deletes an object only in
// the version that it has read, and only objects that it made.
type Store struct {
	place place
	from  origin
	page  int // objects per page of a list

	mu   sync.Mutex // guards link
	link *link      // nil until the first call, and when a new link may be needed
}

// errStale reports that another writer changed or deleted the object in between.
var errStale = errors.New("the object has changed")

// ask makes a call. If the server does not accept the credentials, ask reads them again and
// tries once more: the token may have been replaced.
func (s *Store) ask(ctx context.Context, c call) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, httpclient.MaxWait)
	defer cancel()
	for again := false; ; again = true {
		l, err := s.open(c.what)
		if err != nil {
			return nil, err
		}
		body, err := l.do(ctx, c)
		_, distrusted := errors.AsType[*distrust](err)
		if isUnknown(err) || distrusted {
			s.forget(l)
		}
		if again || !isUnknown(err) {
			return body, err
		}
	}
}

func (s *Store) open(what string) (*link, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.link == nil {
		l, err := s.from.connect(what)
		if err != nil {
			return nil, err
		}
		s.link = l
	}
	return s.link, nil
}

func (s *Store) forget(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.link == l {
		s.link = nil
	}
}

// call returns a call about the object of an entry. what begins its errors and says why
// the call is made.
func (s *Store) call(what, verb, method string, name store.Name) call {
	return call{what: what, verb: verb, method: method, namespace: s.place.namespace, kind: kindOf(name), object: s.place.objectName(name)}
}

func (s *Store) what(verb string, name store.Name) (string, error) {
	what := verb + " " + name.String() + " of kubernetes://" + s.place.namespace
	if s.place.prefix != "" {
		what += "/" + s.place.prefix
	}
	if name.IsZero() {
		return "", usererr.New(what, "it has no name", "")
	}
	return what, nil
}

// foreign returns the error for an object that this store did not write in its present
// form.
func foreign(what string, k kind, object string, err error) error {
	return usererr.Wrap(what+": "+k.name+" "+object, err, "another program wrote it; move it away, or choose another prefix")
}

// leaving returns the error for an object that is being deleted.
func leaving(what string) error {
	return usererr.New(what, "the object is being deleted, and a finalizer of another controller keeps it", "have that controller remove its finalizer; the value can be read until then")
}

// Get implements [store.Store].
func (s *Store) Get(ctx context.Context, name store.Name) (store.Entry, error) {
	what, err := s.what("read", name)
	if err != nil {
		return store.Entry{}, err
	}
	c := s.call(what, "get", http.MethodGet, name)
	body, err := s.ask(ctx, c)
	switch {
	case isAbsent(err, c):
		return store.Entry{}, &usererr.Error{Op: what, Err: store.ErrNotFound}
	case err != nil:
		return store.Entry{}, err
	}
	o, err := decodeObject(body, c.kind.name)
	if err != nil {
		return store.Entry{}, usererr.Wrap(what, err, "")
	}
	entry, err := s.place.entry(o, name)
	if err != nil {
		return store.Entry{}, foreign(what, c.kind, c.object, err)
	}
	return entry, nil
}

// found returns the entry's object without its value, or nil if there is none. An object
// that is not this store's is an error.
func (s *Store) found(ctx context.Context, what string, name store.Name) (*metadata, error) {
	c := s.call(what, "get", http.MethodGet, name)
	c.accept = partialType
	body, err := s.ask(ctx, c)
	if isAbsent(err, c) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	o, err := decodeObject(body, partialKind)
	if err != nil {
		return nil, usererr.Wrap(what, err, "")
	}
	if err := s.place.check(o.Metadata, name); err != nil {
		return nil, foreign(what, c.kind, c.object, err)
	}
	return &o.Metadata, nil
}

// Put implements [store.Store]. If a write took place and its answer was lost, Put
// recognizes the write by its annotation and succeeds.
func (s *Store) Put(ctx context.Context, name store.Name, value store.Secret, mode store.Mode) error {
	what, err := s.what("write", name)
	if err == nil {
		if bad := value.Check(); bad != nil {
			err = usererr.Wrap(what, bad, "")
		}
	}
	if err != nil {
		return err
	}
	o := s.place.newObject(name, value, rand.Text(), time.Now())
	write := s.create
	if mode == store.Replace {
		write = s.replace
	}
	return s.untilSeen(ctx, what, func(ctx context.Context) error { return write(ctx, what, name, o) })
}

// untilSeen repeats a change until no other writer interferes.
func (s *Store) untilSeen(ctx context.Context, what string, change func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, httpclient.MaxWait)
	defer cancel()
	for try := range maxTries {
		if err := pause(ctx, try); err != nil {
			return usererr.Wrap(what, err, "")
		}
		if err := change(ctx); !errors.Is(err, errStale) {
			return err
		}
	}
	return usererr.New(what, "other writers keep changing it", "try again in a moment")
}

// pause waits for other writers to finish, longer with each try.
func pause(ctx context.Context, try int) error {
	select {
	case <-time.After(time.Duration(min(try, 10)) * 10 * time.Millisecond):
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// create makes the object, or returns an error that wraps [store.ErrExists].
func (s *Store) create(ctx context.Context, what string, name store.Name, o object) error {
	err := s.post(ctx, what, name, o)
	if !is(err, alreadyExists) {
		return err
	}
	there, err := s.found(ctx, what, name)
	switch {
	case err != nil:
		return err
	case there == nil:
		return errStale
	case there.Annotations[writeNote] == o.Metadata.Annotations[writeNote]:
		return nil
	}
	return &usererr.Error{Op: what, Err: store.ErrExists}
}

func (s *Store) post(ctx context.Context, what string, name store.Name, o object) error {
	c := s.call(what, "create", http.MethodPost, name)
	c.object, c.body, c.query = "", o, url.Values{"fieldManager": {manager}}
	_, err := s.ask(ctx, c)
	if is(err, conflict) { // a conflict of a quota that other writers use at the same time
		return errStale
	}
	return err
}

// replace changes the object, or makes it. It leaves what others added to the object.
func (s *Store) replace(ctx context.Context, what string, name store.Name, o object) error {
	err := s.edit(ctx, what, name, o)
	switch {
	case isAbsent(err, s.call(what, "patch", http.MethodPatch, name)):
		if err = s.post(ctx, what, name, o); is(err, alreadyExists) {
			return errStale
		}
		return err
	case is(err, conflict):
		return errStale
	case isUnfit(err):
		return s.replaceSeen(ctx, what, name, o)
	}
	return err
}

// replaceSeen changes the object in the version that was read, or returns why it may
// not be changed.
func (s *Store) replaceSeen(ctx context.Context, what string, name store.Name, o object) error {
	there, err := s.found(ctx, what, name)
	switch {
	case err != nil:
		return err
	case there == nil:
		return errStale
	case there.Annotations[writeNote] == o.Metadata.Annotations[writeNote]:
		return nil
	case there.Deleted != nil:
		return leaving(what)
	}
	c := s.patch(what, name, o, there.ResourceVersion)
	c.query = url.Values{"fieldManager": {manager}}
	_, err = s.ask(ctx, c)
	if is(err, conflict) || isAbsent(err, c) {
		return errStale
	}
	return err
}

// Delete implements [store.Store].
func (s *Store) Delete(ctx context.Context, name store.Name) error {
	what, err := s.what("delete", name)
	if err != nil {
		return err
	}
	return s.untilSeen(ctx, what, func(ctx context.Context) error { return s.remove(ctx, what, name) })
}

// remove deletes the object, in the version that was read.
func (s *Store) remove(ctx context.Context, what string, name store.Name) error {
	there, err := s.found(ctx, what, name)
	if err != nil || there == nil {
		return err
	}
	if there.Deleted != nil {
		return leaving(what)
	}
	c := s.call(what, "delete", http.MethodDelete, name)
	c.body = map[string]any{
		"apiVersion": "v1", "kind": "DeleteOptions",
		"preconditions": map[string]string{"uid": there.UID, "resourceVersion": there.ResourceVersion},
	}
	body, err := s.ask(ctx, c)
	switch {
	case isAbsent(err, c):
		return nil
	case is(err, conflict):
		return errStale
	case err == nil && decodeStatus(body).Kind == "": // the answer is the object, which still exists
		return errStale
	}
	return err
}
