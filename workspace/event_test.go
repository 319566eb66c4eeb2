package workspace

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// past returns a record's events as users read them.
func past(r *Record) (texts []string) {
	for _, e := range r.History {
		text := e.What + " " + e.Owner
		if e.Times > 1 {
			text += fmt.Sprintf(" x%d", e.Times)
		}
		texts = append(texts, text)
	}
	return texts
}

// The record itself says what happened to a workspace, for users who ask why it has no
// access: they need no log of another program.
func TestTheRecordKeepsTheLatestEvents(t *testing.T) {
	c := newCity(t)
	i := c.run(&mortal{})
	if _, err := i.Create(t.Context(), "sb-1", profileOf(t, "acme/widgets"), 0); err != nil {
		t.Fatal(err)
	}
	up := c.Fail(fakegithub.To(http.MethodPost, "/access_tokens"), fakegithub.Status(http.StatusForbidden), -1)
	for range 3 {
		if _, err := i.Refresh(t.Context(), "sb-1", true); err == nil {
			t.Fatal("Refresh = nil, want GitHub's refusal")
		}
		c.Advance(time.Minute)
	}
	up()
	i.Grace = -1
	if _, err := i.Refresh(t.Context(), "sb-1", true); err != nil {
		t.Fatal(err)
	}
	r, err := i.Load(t.Context(), "sb-1")
	if want := []string{"minted acme", "delivered acme", "failed acme x3", "minted acme", "delivered acme", "revoked acme"}; err != nil || !slices.Equal(past(r), want) {
		t.Fatalf("the events are %q, %v, want %q", past(r), err, want)
	}
	if e := r.History[2]; !strings.Contains(e.Why, "403") || c.Now().Sub(e.At) > 2*time.Minute {
		t.Errorf("the failure is %+v, want why, and when it was last", e)
	}
	if first, last := r.History[0], r.History[5]; first.Hash != last.Hash || first.Hash == "" || last.Why != "another token replaced it" {
		t.Errorf("the revoked token is %+v, want that of %+v and why", last, first)
	}
	if data, err := r.Encode(); err != nil || strings.Contains(string(data), "ghs_") {
		t.Errorf("the record holds a token: %s, %v", data, err)
	}
}

// An event needs no call to the store: a run has as many effects, which mortal counts,
// as without events.
func TestEventsCostNoWrites(t *testing.T) {
	c := newCity(t)
	m := &mortal{}
	if _, err := c.run(m).Create(t.Context(), "sb-1", profileOf(t, "acme/widgets"), 0); err != nil {
		t.Fatal(err)
	}
	// The lock and its release; the record as made, minting, minted and delivered;
	// GitHub's token; the parameter and its copy.
	if m.count != 9 {
		t.Errorf("Create had %d effects, want 9", m.count)
	}
}

// Two failures that alternate do not push out the events before them, and a reason has
// a bound and no control characters.
func TestRepeatedFailuresAreCounted(t *testing.T) {
	r := record(t)
	r.remember(PastEvent{What: "minted", Owner: "acme"})
	for n := range 100 {
		owner := []string{"acme", "octo"}[n%2]
		r.remember(PastEvent{At: noon.Add(time.Duration(n) * time.Minute), What: failed, Owner: owner, Why: "down\x1b[31m " + strings.Repeat("x", 1000)})
	}
	if want := []string{"minted acme", "failed acme x50", "failed octo x50"}; !slices.Equal(past(r), want) {
		t.Errorf("the events are %q, want %q", past(r), want)
	}
	if why := r.History[1].Why; len(why) > maxReason+3 || strings.Contains(why, "\x1b") {
		t.Errorf("a reason is %q, want it escaped and at most %d bytes", why, maxReason)
	}
	for n := range 100 {
		r.remember(PastEvent{What: "minted", Owner: fmt.Sprint(n)})
	}
	if len(r.History) != maxPast || r.History[maxPast-1].Owner != "99" {
		t.Errorf("%d events, the last %+v, want the latest %d", len(r.History), r.History[len(r.History)-1], maxPast)
	}
}

// Events never make a record longer than a store accepts, nor too long for AWS's free
// tier if it fits that without them.
func TestEventsLeaveRoomForTheRecord(t *testing.T) {
	for _, tokens := range []int{1, 20, 45, 70} {
		r := record(t)
		r.Tokens = nil
		for n := range tokens {
			r.Tokens = append(r.Tokens, token("acme", Delivered, noise(n), time.Hour))
		}
		bare, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		for n := range maxPast {
			r.remember(PastEvent{At: noon, What: failed, Owner: noise(n)[:39], Hash: noise(n + 1000), Why: noise(n) + noise(n+1) + noise(n+2)})
		}
		data, err := r.Encode()
		if err != nil || len(bare) <= freeSize && len(data) > freeSize || len(bare) <= store.MaxValue && len(data) > store.MaxValue {
			t.Errorf("with %d tokens the record is %d bytes, and with events %d, %v", tokens, len(bare), len(data), err)
		}
		if back, err := ParseRecord(data); err != nil || tokens == 1 && len(back.History) < 5 {
			t.Errorf("with %d tokens, ParseRecord = %v, %v, want events where there is room", tokens, back, err)
		}
	}
}

// noise returns text that does not compress: hashes of the form that tokens have.
func noise(n int) string { return fakegithub.Hash(fmt.Sprint("noise", n)) }

func TestARecordWithoutEventsIsAsBefore(t *testing.T) {
	data, err := record(t).Encode()
	var keys map[string]json.RawMessage
	if err != nil || json.Unmarshal(data, &keys) != nil || keys["events"] != nil {
		t.Errorf("Encode = %s, %v, want no events", data, err)
	}
}

// A round that fails leaves its reason in the record for the command line. A later round
// that succeeds removes it, and the reason never gets too long for a store's entry.
func TestThePassKeepsTheLastError(t *testing.T) {
	c := newCity(t)
	i := c.run(&mortal{})
	if _, err := i.Create(t.Context(), "sb-1", profileOf(t, "acme/widgets"), 0); err != nil {
		t.Fatal(err)
	}
	up := c.Fail(fakegithub.To(http.MethodPost, "/access_tokens"), fakegithub.Status(http.StatusForbidden), -1)
	if sum, err := (&Round{Issuer: i, Force: true}).Run(t.Context()); err != nil || sum.Failed != 1 {
		t.Fatalf("Run = %+v, %v, want one that failed", sum, err)
	}
	r, err := i.Load(t.Context(), "sb-1")
	if err != nil || r.LastError == nil || !strings.Contains(r.LastError.Why, "403") || r.LastError.Owners[0] != "acme" || c.Now().Sub(r.LastError.At) > time.Minute || r.Condition(c.Now()) != Failing {
		t.Fatalf("Load = %+v, %v, want the error and its owner", r, err)
	}
	r.LastError.Why = strings.Repeat("x", 4*maxWhy)
	err = i.run(t.Context(), "sb-1", func(ctx context.Context, run *run) error {
		run.record = r
		return run.recordOutcome(ctx, errorOf(r.LastError.Why))
	})
	if err == nil || len(r.LastError.Why) > maxWhy+3 {
		t.Errorf("conclude keeps %d bytes, want at most %d", len(r.LastError.Why), maxWhy)
	}
	up()
	if sum, err := (&Round{Issuer: i, Force: true}).Run(t.Context()); err != nil || sum.Refreshed != 1 {
		t.Fatalf("Run = %+v, %v, want it refreshed", sum, err)
	}
	if r, err := i.Load(t.Context(), "sb-1"); err != nil || r.LastError != nil || r.Condition(c.Now()) != Ready {
		t.Errorf("Load = %+v, %v, want no error", r, err)
	}
}

type errorOf string

func (e errorOf) Error() string { return string(e) }
