// Package faultinject makes one call of the issuing side to GitHub, the store or the
// KMS fail, for tests that go through every call and every kind of failure.
package faultinject

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
)

// The kinds of failure on the way to GitHub.
const (
	Unreachable  = "unreachable"
	AnswerLost   = "the answer is lost"
	BadGateway   = "a 502 before it"
	ServerError  = "a 500 after it"
	SlowBody     = "a slow body"
	Truncated    = "truncated JSON"
	BodyCut      = "a connection cut in the body"
	WrongExpiry  = "an expiry in the past"
	LessThanSaid = "less than was asked"
)

// The kinds of failure of the store, the KMS and the disk.
const (
	StoreDown = "the store is down"
	StoreLost = "the store's answer is lost"
	KeyDown   = "the KMS is down"
	DiskFull  = "the disk is full"
)

// OnTheWay are the kinds of failure that any answer of GitHub can have.
var OnTheWay = []string{Unreachable, AnswerLost, BadGateway, ServerError, SlowBody, Truncated, BodyCut}

// ErrTrouble is the error of an injected failure.
var ErrTrouble = errors.New("trouble")

// A Trouble is one failure, at the nth call. Later calls work again.
type Trouble struct {
	Kind string
	At   int // from 1

	mu    sync.Mutex // guards count
	count int
}

// Strikes counts a call, and reports whether it is the one that must fail.
func (t *Trouble) Strikes() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count++
	return t.count == t.At
}

// IsOver reports whether there were fewer calls than n, so that none failed.
func (t *Trouble) IsOver() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count < t.At
}

// GitHub is a transport to GitHub with failures.
type GitHub struct {
	http.RoundTripper
	*Trouble
}

// RoundTrip implements http.RoundTripper.
func (g GitHub) RoundTrip(r *http.Request) (*http.Response, error) {
	if !g.Strikes() {
		return g.RoundTripper.RoundTrip(r)
	}
	switch g.Kind {
	case Unreachable:
		return nil, ErrTrouble
	case BadGateway:
		return answer(r, http.StatusBadGateway, "<html>"), nil
	}
	response, err := g.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	response.Body.Close()
	switch g.Kind {
	case AnswerLost:
		return nil, ErrTrouble
	case ServerError:
		return answer(r, http.StatusInternalServerError, "{}"), nil
	}
	response.Body = io.NopCloser(g.body(r, body))
	return response, nil
}

// body returns what gets through of an answer's body.
func (g GitHub) body(r *http.Request, whole []byte) io.Reader {
	half := bytes.NewReader(whole[:len(whole)/2])
	switch g.Kind {
	case SlowBody:
		return hanging{r.Context()}
	case Truncated:
		return half
	case BodyCut:
		return io.MultiReader(half, broken{})
	case WrongExpiry:
		whole = bytes.ReplaceAll(whole, []byte(`"expires_at":"20`), []byte(`"expires_at":"19`))
	case LessThanSaid:
		whole = bytes.ReplaceAll(whole, []byte(`"contents":"write"`), []byte(`"contents":"read"`))
	}
	return bytes.NewReader(whole)
}

func answer(r *http.Request, status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}
}

// hanging is a body that never arrives.
type hanging struct{ ctx context.Context }

func (h hanging) Read([]byte) (int, error) {
	<-h.ctx.Done()
	return 0, h.ctx.Err()
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, ErrTrouble }

// Store is a store with failures.
type Store struct {
	store.Store
	*Trouble
}

func (s Store) do(call func() error) error {
	if !s.Strikes() {
		return call()
	}
	if s.Kind == StoreLost {
		_ = call()
	}
	return ErrTrouble
}

// Put implements [store.Store].
func (s Store) Put(ctx context.Context, n store.Name, v store.Secret, mode store.Mode) error {
	return s.do(func() error { return s.Store.Put(ctx, n, v, mode) })
}

// A Swapper is a Store that compares versions.
type Swapper struct{ Store }

// Swap implements [store.Swapper].
func (s Swapper) Swap(ctx context.Context, n store.Name, v store.Secret, version string, due time.Time) (next string, err error) {
	err = s.do(func() error {
		next, err = s.Store.Store.(store.Swapper).Swap(ctx, n, v, version, due)
		return err
	})
	return next, err
}

// Delete implements [store.Store].
func (s Store) Delete(ctx context.Context, n store.Name) error {
	return s.do(func() error { return s.Store.Delete(ctx, n) })
}

// Get implements [store.Store].
func (s Store) Get(ctx context.Context, n store.Name) (e store.Entry, err error) {
	err = s.do(func() (err error) {
		e, err = s.Store.Get(ctx, n)
		return err
	})
	if err != nil {
		return store.Entry{}, err
	}
	return e, nil
}

// List implements [store.Store].
func (s Store) List(ctx context.Context, p store.Prefix) iter.Seq2[store.Name, error] {
	if s.Strikes() {
		return func(yield func(store.Name, error) bool) { yield(store.Name{}, ErrTrouble) }
	}
	return s.Store.List(ctx, p)
}

// Key is a KMS key with failures.
type Key struct {
	mint.Signer
	*Trouble
}

// Sign implements [mint.Signer].
func (k Key) Sign(ctx context.Context, digest [32]byte) ([]byte, error) {
	if k.Strikes() {
		return nil, ErrTrouble
	}
	return k.Signer.Sign(ctx, digest)
}
