package workspace

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/storetest"
)

// odd returns a record as different kinds of runs may leave it, and the installations.
func odd(t *testing.T, r *rand.Rand) (*Record, []mint.Installation) {
	t.Helper()
	texts := []string{"acme/widgets", "acme/widgets, octo/widgets", "octo/*", `"*"`}
	made := &Record{ID: "sb-1", Created: noon}
	if r.IntN(8) > 0 {
		made.Access = profileOf(t, texts[r.IntN(len(texts))]).Access
	}
	if r.IntN(4) == 0 {
		made.Margin = time.Duration(1+r.IntN(50)) * time.Minute
	}
	made.Destroying = r.IntN(20) == 0
	var installed []mint.Installation
	for n, login := range []string{"Acme", "octo"} {
		if r.IntN(3) > 0 {
			installed = append(installed, mint.Installation{ID: int64(n + 1), Account: mint.Account{Login: login}})
		}
	}
	made.wanted = append([]string{}, ownersOf(made.Repositories, installed)...)
	give := func(owner string, state State) {
		left := time.Duration(r.IntN(80)-10) * time.Minute
		tok := token(owner, state, fmt.Sprint("hash ", r.Int()), left)
		tok.Changed = noon.Add(-time.Duration(r.IntN(40)) * time.Minute)
		if tok.Grant = grantOf(made.Access, strings.ToLower(tok.Owner)); r.IntN(10) == 0 {
			tok.Grant = "yesterday's"
		}
		made.Tokens = append(made.Tokens, tok)
	}
	for _, owner := range made.wanted {
		give(owner, Delivered)
		if r.IntN(2) == 0 {
			give(owner, Superseded)
		}
	}
	if r.IntN(3) == 0 {
		give([]string{"Acme", "octo"}[r.IntN(2)], states[r.IntN(len(states))])
	}
	return made, installed
}

// The time that a store has for a record's next turn is neither later nor earlier than
// a round over all records would find.
func TestTheIndexSaysWhatAPassWouldFind(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(14, 4))
	times := map[string]int{}
	for range 1500 {
		made, installed := odd(t, r)
		now := noon
		i := &Issuer{Now: func() time.Time { return now }, Margin: time.Duration(1+r.IntN(50)) * time.Minute, Grace: time.Duration(1+r.IntN(30)) * time.Minute}
		w := (&Round{Issuer: i}).worker()
		due := made.due(i.ledger().want(made, nil))
		for ; now.Before(noon.Add(100 * time.Minute)); now = now.Add(30 * time.Second) {
			_, isDue := w.check(made, installed)
			if says := !due.IsZero() && !due.After(now); says != isDue {
				t.Fatalf("at %s the index says %v, and the record is due: %v; the index says %s\n%+v\nwanted %q, margin %s, grace %s",
					now.Format(time.TimeOnly), says, isDue, due.Format(time.TimeOnly), made, made.wanted, i.Margin, i.Grace)
			}
			if isDue {
				break
			}
		}
		times[map[bool]string{true: "at once", false: "later"}[now.Equal(noon)]]++
	}
	if times["at once"] < 150 || times["later"] < 150 {
		t.Errorf("records are due %v, want many of both kinds", times)
	}
}

// duesOf returns the workspaces that a round would work on.
func duesOf(t *testing.T, i *Issuer) (ids []string, sum Summary) {
	t.Helper()
	w := (&Round{Issuer: i}).worker()
	items, err := w.due(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, it := range items {
		ids = append(ids, it.id)
	}
	slices.Sort(ids)
	return ids, w.sum
}

// Over hours in which all kinds of things happen, rounds that ask the index find the
// same workspaces as rounds over all records.
func TestPassesByTheIndexFindWhatIsDue(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 0)
	s := c.store.(*storetest.Memory)
	run := func(s store.Store) *Issuer {
		i := c.run(&mortal{})
		i.Store = s
		return i
	}
	create := func(n int, repositories string) {
		if _, err := run(s).Create(t.Context(), fmt.Sprint("sb-", n), profileOf(t, repositories), 0); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 12 {
		create(n, []string{"acme/widgets", "acme/widgets, octo/widgets", `"*"`}[n%3])
	}
	c.Advance(newInstallation)
	events := map[int]func(){
		2: func() { c.block(store.Blocked("sb-1")) },
		5: func() { c.withdraw(run(s), "sb-1") },
		9: func() { c.lift(store.Blocked("sb-1")) },
		11: func() {
			c.block(store.BlockedOwner("octo"))
			c.withdraw(run(s), "sb-1", "sb-2", "sb-4", "sb-5", "sb-7", "sb-8", "sb-10", "sb-11")
		},
		14: func() { c.lift(store.BlockedOwner("octo")) },
		17: func() { create(3, "octo/widgets") },
		20: func() { c.Fail(fakegithub.To("POST", "/access_tokens"), fakegithub.Status(403), 4) },
		24: func() { c.settleIn("initech") },
		30: func() { c.destroyHalf(run(s), "sb-6") },
	}
	parts, dues := 0, 0
	for step := range 50 {
		if event := events[step]; event != nil {
			event()
		}
		byIndex, sum := duesOf(t, run(s))
		byAll, _ := duesOf(t, run(storetest.Plain(s)))
		isUnsettled := step >= 2 && step < 5 // a block that no run has carried out yet
		if !slices.Equal(byIndex, byAll) && !isUnsettled {
			t.Errorf("step %d: the index finds %q due, want %q", step, byIndex, byAll)
		}
		if dues += len(byAll); sum.IsPart {
			parts++
		}
		made, err := (&Round{Issuer: run(s)}).Run(t.Context())
		if err != nil || made.Soonest.Before(c.Now()) {
			t.Fatalf("step %d: the round = %+v, %v", step, made, err)
		}
		c.Advance(5 * time.Minute)
	}
	if parts < 40 || dues < 50 {
		t.Errorf("%d rounds asked the index, and %d times a workspace was due, want most and many", parts, dues)
	}
}

func (c *city) lift(name store.Name, err error) {
	c.t.Helper()
	if err == nil {
		err = c.store.Delete(c.t.Context(), name)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *city) withdraw(i *Issuer, ids ...string) {
	c.t.Helper()
	for _, id := range ids {
		if err := i.RevokeBlocked(c.t.Context(), id); err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c *city) destroyHalf(i *Issuer, id string) {
	c.t.Helper()
	c.Fail(fakegithub.To("DELETE", "/installation/token"), fakegithub.Status(403), 1)
	if _, err := i.Destroy(c.t.Context(), id); err == nil {
		c.t.Fatal("Destroy is done, want an error")
	}
}

// A round with nothing due reads only the records that are due next, and the block list
// once.
func TestAPassReadsWhatIsDue(t *testing.T) {
	c, s := countedCity(t, 500)
	crowd := crowd{c}
	crowd.settle(40, "acme/widgets")
	c.Advance(newInstallation)
	round := func() (Summary, []string) {
		s.take()
		i := c.run(&mortal{})
		i.Store = s
		sum, err := (&Round{Issuer: i}).Run(t.Context())
		if err != nil || !sum.IsPart {
			t.Fatalf("the round = %+v, %v", sum, err)
		}
		return sum, s.take()
	}
	for range 2 {
		sum, calls := round()
		calls = slices.DeleteFunc(calls, func(call string) bool { return strings.Contains(call, "config/github/installations") })
		if want := []string{"list broker/barred", "due sandbox", "due sandbox"}; !slices.Equal(calls, want) || sum.Due != 0 || sum.Workspaces != 0 {
			t.Errorf("a round with nothing due = %+v, and calls %q, want %q", sum, calls, want)
		}
		if sum.Soonest.Sub(c.Now()) < 30*time.Minute {
			t.Errorf("the first token ends in %s, want what is due next", sum.Soonest.Sub(c.Now()))
		}
	}
	c.Advance(20 * time.Minute)
	sum, calls := round()
	blocks := 0
	for _, call := range calls {
		if call == "list broker/barred" {
			blocks++
		}
	}
	if sum.Minted != 40 || sum.Failed != 0 || blocks != 1 {
		t.Errorf("a round with all due = %+v, and reads the block list %d times, want 40 minted, once", sum, blocks)
	}
}

// The block list is read once, and still nothing is minted for a workspace whose tokens
// were withdrawn after the round began.
func TestABlockDuringAPassHolds(t *testing.T) {
	c := newCrowd(t, 0)
	c.settle(3, "acme/widgets")
	c.Advance(45 * time.Minute)
	others := c.run(&mortal{})
	p := &Round{Issuer: c.run(&mortal{}), Workers: 1}
	done := []string{}
	p.Each = func(r Result) {
		if done = append(done, r.Workspace); len(done) > 1 {
			return
		}
		for n := range 3 {
			c.block(store.Blocked(fmt.Sprint("sb-", n)))
			c.withdraw(others, fmt.Sprint("sb-", n))
		}
	}
	sum, err := p.Run(t.Context())
	if err != nil || sum.Minted != 1 || len(c.Tokens()) != 0 {
		t.Errorf("the round = %+v, %v, and %d tokens are alive, want one minted before the block, and none alive", sum, err, len(c.Tokens()))
	}
}

// Entries that the index cannot read are not skipped silently.
func TestAPassReportsWhatTheIndexCannotRead(t *testing.T) {
	c := newCrowd(t, 0)
	c.settle(2, "acme/widgets")
	c.Advance(45 * time.Minute)
	c.damage("sb-0", "workspace")
	i := c.run(&mortal{})
	i.Store = c.store
	var bad []string
	sum, err := (&Round{Issuer: i, Each: func(r Result) {
		if r.Err != nil && !errors.Is(r.Err, ErrBusy) {
			bad = append(bad, r.Workspace)
		}
	}}).Run(t.Context())
	if err != nil || sum.Minted != 1 || !slices.Equal(bad, []string{"sb-0"}) {
		t.Errorf("the round = %+v, %v, and %q failed, want sb-0", sum, err, bad)
	}
}
