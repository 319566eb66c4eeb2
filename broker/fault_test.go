package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
)

// trouble is one failure of what the broker stands on, at the nth call.
type trouble struct {
	kind string
	at   int

	mu    sync.Mutex // guards count
	count int
}

var errTrouble = errors.New("trouble")

func (f *trouble) strikes() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count++
	return f.count == f.at
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
	if g.kind == "reset before it" {
		return nil, errTrouble
	}
	response, err := g.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	switch g.kind {
	case "reset after it":
		return nil, errTrouble
	case "a 500 after it":
		response.StatusCode, response.Body = http.StatusInternalServerError, io.NopCloser(strings.NewReader("{}"))
	case "truncated JSON":
		response.Body = io.NopCloser(bytes.NewReader(body[:len(body)/2]))
	case "a slow body":
		response.Body = io.NopCloser(hanging{r.Context()})
	case "another expiry":
		response.Body = io.NopCloser(bytes.NewReader(bytes.ReplaceAll(body, []byte(`"expires_at":"20`), []byte(`"expires_at":"19`))))
	case "less than was asked":
		response.Body = io.NopCloser(bytes.NewReader(bytes.ReplaceAll(body, []byte(`"contents":"write"`), []byte(`"contents":"read"`))))
	}
	return response, nil
}

type hanging struct{ ctx context.Context }

func (h hanging) Read([]byte) (int, error) {
	<-h.ctx.Done()
	return 0, h.ctx.Err()
}

// troubledStore is the way to the store.
type troubledStore struct {
	store.Store
	*trouble
}

func (s troubledStore) Put(ctx context.Context, n store.Name, v store.Secret, m store.Mode) error {
	if s.strikes() {
		return errTrouble
	}
	return s.Store.Put(ctx, n, v, m)
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

// troubledJournal is a disk that is full for a moment.
type troubledJournal struct {
	Journal
	*trouble
}

func (j troubledJournal) Write(ctx context.Context, e Entry, durable bool) error {
	if j.strikes() {
		return errTrouble
	}
	return j.Journal.Write(ctx, e, durable)
}

// over is the bench's broker with one thing that fails once. It is not started
// anew: it has to recover by itself.
func (b *bench) over(f *trouble) {
	var kept store.Store = b.store
	var journal Journal = b.journal
	switch f.kind {
	case "the KMS is down":
		b.app.Signer = troubledKey{b.app.Signer, f}
	case "the store is down":
		kept = troubledStore{b.store, f}
	case "the disk is full":
		journal = troubledJournal{b.journal, f}
	default:
		b.app.Client = &http.Client{Transport: troubledGitHub{b.Transport(), f}}
	}
	b.cache = &Cache{Now: b.Now, Mint: Journaled(journal, b.Now, b.app.Revoke, Minted(b.app))}
	b.bars = &Bars{Store: kept, Now: b.Now}
	server := &Server{
		Policy: func() *Policy { return b.policy }, Journal: journal, Now: b.Now, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Vend: Audited(journal, b.Now, Authorized(b.bars, Kept(&Keeper{Store: kept, Now: b.Now}, b.cache))),
	}
	b.handler = server.Handler()
}

// checkLive allows no token that is wider than what was asked, and none that the
// journal does not account for: by its hash, or as one that nobody saw.
func (b *bench) checkLive(when string) {
	b.t.Helper()
	hashes, open := []string{}, 0
	b.journal.mu.Lock()
	for _, e := range b.journal.entries {
		switch e.Kind {
		case KindIntent:
			open++ // until its outcome is written down
		case KindMinted:
			open--
			hashes, open = append(hashes, e.Hash), open+e.Unseen
		}
	}
	b.journal.mu.Unlock()
	for _, t := range b.Tokens() {
		if len(t.Repositories) != 1 || len(t.Permissions) > 2 || t.Permissions["checks"] != "" {
			b.t.Errorf("%s: a token opens %v with %v", when, t.Repositories, t.Permissions)
		}
		if !slices.Contains(hashes, t.Hash) {
			open--
		}
	}
	if open < 0 {
		b.t.Errorf("%s: %d live tokens are not in the journal", when, -open)
	}
}

// TestEveryCallMayFail asks again and again while one call of the broker's fails.
func TestEveryCallMayFail(t *testing.T) {
	for _, kind := range []string{
		"reset before it", "reset after it", "a 500 after it", "truncated JSON", "a slow body", "another expiry", "less than was asked",
		"the store is down", "the KMS is down", "the disk is full",
	} {
		t.Run(kind, func(t *testing.T) {
			for at := 1; at < 100; at++ {
				f := &trouble{kind: kind, at: at}
				t.Run(fmt.Sprintf("call %d", at), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { askInTrouble(t, f) })
				})
				if f.count < at || t.Failed() {
					return
				}
			}
			t.Error("the calls never end")
		})
	}
}

func askInTrouble(t *testing.T, f *trouble) {
	b := newBench(t)
	b.over(f)
	for _, ask := range [][2]string{{"acme/widgets", "read"}, {"octo/widgets", "write"}, {"acme/widgets", "read"}} {
		when := ask[1] + " " + ask[0]
		for try := 1; ; try++ {
			got := b.token("ci", ask[0], ask[1])
			b.checkLive(when)
			if got.Code == http.StatusOK {
				break
			}
			if strings.Contains(got.Body.String(), "ghs_") || strings.Contains(got.Body.String(), "trouble") {
				t.Errorf("%s: the refusal %s shows what it must not", when, got.Body)
			}
			isRefusal := got.Code == http.StatusServiceUnavailable || got.Code == http.StatusForbidden && f.kind == "less than was asked"
			if !isRefusal || try == 3 {
				t.Fatalf("%s is answered with %d %s at the %d. try", when, got.Code, got.Body, try)
			}
			time.Sleep(time.Minute) // what is remembered of a failure passes
			b.Advance(time.Minute)
		}
	}
}

// The audit log says which claims made a caller what it is.
func TestTheJournalSaysWhichClaimsMatched(t *testing.T) {
	b := newBench(t)
	b.token("ci", "acme/widgets", "read")
	last := b.journal.entries[len(b.journal.entries)-1]
	if len(last.Claims) != 2 || last.Claims["id"] != "ci" || last.Claims["n"] != "7" {
		t.Errorf("the journal has the claims %v, want the two that the rule looked at", last.Claims)
	}
}
