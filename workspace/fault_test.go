package workspace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/internal/fakegithub"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
)

// trouble is one failure of the outside, at the nth call of its kind. What comes
// after works again.
type trouble struct {
	kind string
	at   int

	mu    sync.Mutex // guards count
	count int
}

var errTrouble = errors.New("trouble")

// strikes counts a call, and reports whether it is the one that fails.
func (f *trouble) strikes() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count++
	return f.count == f.at
}

func (f *trouble) calls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}

// troubledGitHub is the network to GitHub.
type troubledGitHub struct {
	http.RoundTripper
	*trouble
}

func (g troubledGitHub) RoundTrip(r *http.Request) (*http.Response, error) {
	if !g.strikes() {
		return g.RoundTripper.RoundTrip(r)
	}
	switch g.kind {
	case "unreachable":
		return nil, errTrouble
	case "a 502 before it":
		return answering(r, http.StatusBadGateway, "<html>"), nil
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
	switch g.kind {
	case "the answer is lost":
		return nil, errTrouble
	case "a 500 after it":
		return answering(r, http.StatusInternalServerError, "{}"), nil
	case "a slow body":
		response.Body = io.NopCloser(hanging{r.Context()})
	case "truncated JSON":
		response.Body = io.NopCloser(bytes.NewReader(body[:len(body)/2]))
	case "a connection cut in the body":
		response.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body[:len(body)/2]), failingReader{}))
	}
	return response, nil
}

func answering(r *http.Request, status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}
}

// hanging is a body that never comes.
type hanging struct{ ctx context.Context }

func (h hanging) Read([]byte) (int, error) {
	<-h.ctx.Done()
	return 0, h.ctx.Err()
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errTrouble }

// troubledStore is the way to a store.
type troubledStore struct {
	store.Store
	*trouble
}

func (s troubledStore) do(call func() error) error {
	if !s.strikes() {
		return call()
	}
	if s.kind == "the store's answer is lost" {
		_ = call()
	}
	return errTrouble
}

func (s troubledStore) Put(ctx context.Context, n store.Name, v store.Secret, mode store.Mode) error {
	return s.do(func() error { return s.Store.Put(ctx, n, v, mode) })
}

func (s troubledStore) Delete(ctx context.Context, n store.Name) error {
	return s.do(func() error { return s.Store.Delete(ctx, n) })
}

func (s troubledStore) Get(ctx context.Context, n store.Name) (e store.Entry, err error) {
	err = s.do(func() (err error) {
		e, err = s.Store.Get(ctx, n)
		return err
	})
	if err != nil {
		return store.Entry{}, err
	}
	return e, nil
}

func (s troubledStore) List(ctx context.Context, p store.Prefix) iter.Seq2[store.Name, error] {
	if s.strikes() {
		return func(yield func(store.Name, error) bool) { yield(store.Name{}, errTrouble) }
	}
	return s.Store.List(ctx, p)
}

// troubledKey is a KMS.
type troubledKey struct {
	mint.Signer
	*trouble
}

func (k troubledKey) Sign(ctx context.Context, digest [32]byte) ([]byte, error) {
	if k.strikes() {
		return nil, errTrouble
	}
	return k.Signer.Sign(ctx, digest)
}

// troubled is an issuer whose outside fails once. It is one process: it has to
// recover without a restart.
func (c *city) troubled(f *trouble) *Issuer {
	i := c.run(&mortal{})
	switch {
	case f.kind == "the KMS is down":
		i.App.Signer = troubledKey{i.App.Signer, f}
	case strings.HasPrefix(f.kind, "the store"):
		i.Store = troubledStore{i.Store, f}
	default:
		i.App.Client = &http.Client{Transport: troubledGitHub{i.App.Client.Transport, f}}
	}
	return i
}

// checkTokens allows no token that is wider than the profile, and none that
// neither the store nor the ledger knows.
func (c *city) checkTokens(when string, lost int) {
	c.t.Helper()
	if r, err := c.run(&mortal{}).Load(c.t.Context(), "sb-1"); err == nil {
		for _, t := range r.Tokens {
			if t.State == Minting || t.State == Minted || t.Lost {
				lost++
			}
		}
	}
	_, hashes := c.held()
	for _, t := range c.Tokens() {
		if slices.Equal(slices.Sorted(mapsKeys(t.Permissions)), []string{"metadata"}) {
			continue // a reader, which sees names
		}
		if t.Permissions["contents"] != "write" || len(t.Permissions) > 2 || len(t.Repositories) != 1 || !strings.HasSuffix(t.Repositories[0], "/widgets") {
			c.t.Errorf("%s: a token opens %v with %v", when, t.Repositories, t.Permissions)
		}
		if !slices.Contains(hashes, t.Hash) {
			lost--
		}
	}
	if lost < 0 {
		c.t.Errorf("%s: %d live tokens are neither in the store nor in the ledger", when, -lost)
	}
}

// TestEveryCallMayFail goes through creation, refresh and destruction once for
// every call and every way in which it can go wrong.
func TestEveryCallMayFail(t *testing.T) {
	for _, kind := range []string{
		"unreachable", "the answer is lost", "a 502 before it", "a 500 after it", "a slow body", "truncated JSON", "a connection cut in the body",
		"the store is down", "the store's answer is lost", "the KMS is down",
	} {
		t.Run(kind, func(t *testing.T) {
			for at := 1; ; at++ {
				f := &trouble{kind: kind, at: at}
				t.Run(fmt.Sprintf("call %d", at), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { live(t, f) })
				})
				if f.calls() < at || t.Failed() {
					return
				}
			}
		})
	}
}

// live is the life of a workspace, with every step repeated until it succeeds.
func live(t *testing.T, f *trouble) {
	c := newCity(t)
	i := c.troubled(f)
	p := profile(t, "acme/w*, octo/widgets")
	lost := 0 // by a workspace that is gone
	again := func(step string, do func() error) {
		for try := 1; ; try++ {
			err := do()
			c.checkTokens(step, lost)
			if err == nil {
				return
			}
			if try == 3 {
				t.Fatalf("%s fails again and again: %v", step, err)
			}
			c.Advance(lockTime) // a run that could not give its lock back
		}
	}
	again("create", func() error { _, err := i.Create(t.Context(), "sb-1", p, 0); return err })
	c.Advance(41 * time.Minute)
	again("refresh", func() error { _, err := i.Refresh(t.Context(), "sb-1", false); return err })
	again("refresh by force", func() error { _, err := i.Refresh(t.Context(), "sb-1", true); return err })
	again("destroy", func() error {
		tokens, err := i.Destroy(t.Context(), "sb-1")
		if err == nil {
			lost += len(tokens)
		}
		return err
	})
	c.checkNames()
	c.Advance(tokenLife)
	if live := c.Tokens(); len(live) != 0 {
		t.Errorf("%d tokens are alive an hour later", len(live))
	}
}

// A clock that is a quarter of an hour off, either way, costs one request and
// breaks nothing.
func TestClocksThatDisagree(t *testing.T) {
	for _, off := range []time.Duration{15 * time.Minute, -15 * time.Minute} {
		c := newCity(t)
		i := c.run(&mortal{})
		now := func() time.Time { return c.Now().Add(off) }
		i.Now, i.App.Now = now, now
		if _, err := i.Create(t.Context(), "sb-1", profile(t, "acme/widgets"), 0); err != nil {
			t.Fatalf("with a clock that is %s ahead: Create = %v", off, err)
		}
		first := c.read()
		for range 20 {
			c.Advance(3 * time.Minute)
			if _, err := i.Refresh(t.Context(), "sb-1", false); err != nil {
				t.Fatalf("with a clock that is %s ahead: Refresh = %v", off, err)
			}
			if !c.isLive(c.read()) {
				t.Fatalf("with a clock that is %s ahead the workspace reads a dead token", off)
			}
		}
		if c.read() == first {
			t.Errorf("with a clock that is %s ahead nothing was refreshed in an hour", off)
		}
		if n := c.Count(func(r fakegithub.Request) bool { return r.Status == http.StatusUnauthorized }); n > 1 {
			t.Errorf("with a clock that is %s ahead GitHub refused %d times, want once", off, n)
		}
	}
}
