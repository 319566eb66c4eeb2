package broker

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/faultinject"
)

// troubledJournal is a disk that is full for a moment.
type troubledJournal struct {
	Journal
	*faultinject.Trouble
}

func (j troubledJournal) Write(ctx context.Context, e Entry, durable bool) error {
	if j.Strikes() {
		return faultinject.ErrTrouble
	}
	return j.Journal.Write(ctx, e, durable)
}

// over makes one call fail once under the bench's broker. The broker is not restarted:
// it must recover by itself.
func (b *bench) over(f *faultinject.Trouble) {
	var kept store.Store = b.store
	var journal Journal = b.journal
	switch f.Kind {
	case faultinject.KeyDown:
		b.app.Signer = faultinject.Key{Signer: b.app.Signer, Trouble: f}
	case faultinject.StoreDown, faultinject.StoreLost:
		kept = faultinject.Store{Store: b.store, Trouble: f}
	case faultinject.DiskFull:
		journal = troubledJournal{b.journal, f}
	default:
		b.app.Client = &http.Client{Transport: faultinject.GitHub{RoundTripper: b.Transport(), Trouble: f}}
	}
	b.start(Config{Store: kept, Journal: journal})
}

// checkLive fails if a token is wider than requested, or is not in the journal, by its
// hash or as one that did not arrive.
func (b *bench) checkLive(when string) {
	b.t.Helper()
	hashes, open := []string{}, 0
	b.journal.mu.Lock()
	for _, e := range b.journal.entries {
		switch e.Kind {
		case KindIntent:
			open++ // until its outcome is recorded
		case KindMinted:
			open--
			hashes, open = append(hashes, e.Hash), open+e.Unconfirmed
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

// TestEveryCallMayFail sends requests again and again while each of the broker's calls
// fails once.
func TestEveryCallMayFail(t *testing.T) {
	kinds := append(slices.Clone(faultinject.OnTheWay), faultinject.WrongExpiry, faultinject.LessThanSaid, faultinject.StoreDown, faultinject.StoreLost, faultinject.KeyDown, faultinject.DiskFull)
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			for at := 1; ; at++ {
				f := &faultinject.Trouble{Kind: kind, At: at}
				t.Run(fmt.Sprintf("call %d", at), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { askInTrouble(t, f) })
				})
				if f.IsOver() || t.Failed() {
					return
				}
			}
		})
	}
}

func askInTrouble(t *testing.T, f *faultinject.Trouble) {
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
			if strings.Contains(got.Body.String(), "ghs_") || strings.Contains(got.Body.String(), faultinject.ErrTrouble.Error()) {
				t.Errorf("%s: the refusal %s shows what it must not", when, got.Body)
			}
			isRefusal := got.Code == http.StatusServiceUnavailable || got.Code == http.StatusForbidden && f.Kind == faultinject.LessThanSaid
			if !isRefusal || try == 3 {
				t.Fatalf("%s is answered with %d %s at the %d. try", when, got.Code, got.Body, try)
			}
			time.Sleep(time.Minute) // let cached failures expire
			b.Advance(time.Minute)
		}
	}
}

// The audit log says which claims the rule checked.
func TestTheJournalSaysWhichClaimsMatched(t *testing.T) {
	b := newBench(t)
	b.token("ci", "acme/widgets", "read")
	last := b.journal.entries[len(b.journal.entries)-1]
	if len(last.Claims) != 2 || last.Claims["id"] != "ci" || last.Claims["n"] != "7" {
		t.Errorf("the journal has the claims %v, want the two that the rule looked at", last.Claims)
	}
}
