package broker

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/internal/fakegithub"
	"github.com/gatepass/gatepass/store"
)

func (b *bench) janitor() *Janitor {
	return &Janitor{Store: b.store, Bars: b.bars, Keeper: new(Keeper), Cache: b.cache, Journal: b.journal, Revoke: b.app.Revoke, Now: b.Now}
}

// vended are the entries of what was given.
func (b *bench) vended() (names []string) {
	b.t.Helper()
	for name, err := range b.store.List(b.t.Context(), store.Workspaces()) {
		if err != nil {
			b.t.Fatal(err)
		}
		if name.IsVended() {
			names = append(names, name.String())
		}
	}
	return names
}

// sweep makes a pass, which has to go well.
func sweep(t *testing.T, j *Janitor, want Swept) {
	t.Helper()
	if got, err := j.Sweep(t.Context()); err != nil || got != want {
		t.Errorf("Sweep = %+v, %v, want %+v", got, err, want)
	}
}

// What a barred workspace has is revoked by whoever comes next.
func TestWhatABarredWorkspaceHasIsRevoked(t *testing.T) {
	b := newBench(t)
	for _, caller := range []string{"ci", "sb-1", "sb-2"} {
		b.token(caller, "acme/widgets", "read") // the same token for all three
	}
	b.token("ci", "acme/widgets", "write")
	sweep(t, b.janitor(), Swept{})
	if err := b.bars.Bar(t.Context(), "sb-1"); err != nil {
		t.Fatal(err)
	}
	j := b.janitor() // after a restart
	sweep(t, j, Swept{Revoked: 1})
	if live := b.Tokens(); len(live) != 1 || live[0].Permissions["contents"] != "write" {
		t.Errorf("alive is %+v, want the token to write alone", live)
	}
	if strings.Contains(strings.Join(b.vended(), " "), "sb-1") {
		t.Errorf("kept is %q, want nothing of sb-1", b.vended())
	}
	if !slices.Contains(b.journal.kinds(), "revoked") {
		t.Errorf("the journal has %q, want that it was revoked", b.journal.kinds())
	}
	if got := b.token("sb-2", "acme/widgets", "read"); got.Code != 200 || len(b.Tokens()) != 2 {
		t.Errorf("who shared the token gets %d %s with %d alive, want another", got.Code, got.Body, len(b.Tokens()))
	}
	sweep(t, j, Swept{})
}

// A failure leaves the entry for the next pass.
func TestTheJanitorTriesAgain(t *testing.T) {
	b := newBench(t)
	b.token("sb-1", "acme/widgets", "read")
	if err := b.bars.Bar(t.Context(), "sb-1"); err != nil {
		t.Fatal(err)
	}
	j := b.janitor()
	cancel := b.Fail(fakegithub.To("DELETE", "/installation/token"), fakegithub.Status(500), 100)
	if _, err := j.Sweep(t.Context()); err == nil || len(b.vended()) != 1 {
		t.Errorf("while GitHub is away: %v, %d entries, want an error and the entry", err, len(b.vended()))
	}
	cancel()
	b.journal.err = errors.New("no space")
	if _, err := j.Sweep(t.Context()); err == nil || len(b.vended()) != 1 {
		t.Errorf("while nothing can be written down: %v, %d entries", err, len(b.vended()))
	}
	b.journal.err = nil
	sweep(t, j, Swept{Revoked: 1})
	if len(b.Tokens())+len(b.vended()) != 0 {
		t.Errorf("%d tokens and %d entries are left", len(b.Tokens()), len(b.vended()))
	}
}

func TestWhatHasRunOutIsForgotten(t *testing.T) {
	b := newBench(t)
	for _, caller := range []string{"ci", "sb-1", "sb-2", "sb-3", "sb-4"} {
		b.token(caller, "acme/widgets", "read")
	}
	j := b.janitor()
	j.Batch = 2
	sweep(t, j, Swept{More: true})
	b.Advance(time.Hour + keepDead + time.Second)
	for range 2 {
		if got, err := j.Sweep(t.Context()); err != nil || got.Forgotten != 2 || !got.More {
			t.Errorf("Sweep = %+v, %v, want two and more to do", got, err)
		}
	}
	sweep(t, j, Swept{Forgotten: 1})
	if n := len(b.vended()); n != 0 {
		t.Errorf("%d entries are left, want none", n)
	}
}
