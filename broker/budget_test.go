package broker

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/gatepass/gatepass/mint"
)

// purse is a budget at a time, with a fake GitHub that has so much left.
type purse struct {
	*Budget
	now  time.Time
	rate mint.Rate
}

func newPurse() *purse {
	p := &purse{now: time.Unix(1e9, 0)}
	p.rate = mint.Rate{Limit: 1000, Remaining: 1000, Reset: p.now.Add(time.Hour)}
	p.Budget = &Budget{Rate: func() (mint.Rate, bool) { return p.rate, true }, Now: func() time.Time { return p.now }}
	return p
}

// allowed returns how many of n mints a workspace may cause.
func (p *purse) allowed(t *testing.T, workspace string, n int, hasToken bool) (count int) {
	t.Helper()
	for range n {
		err := p.Allow(workspace, hasToken)
		if err == nil {
			count++
			p.rate.Remaining--
			continue
		}
		if r, ok := errors.AsType[*Refusal](err); !ok || r.Status != 429 || r.Reason != ReasonLimit || r.RetryAfter != p.rate.Reset.Sub(p.now) {
			t.Fatalf("Allow = %v, want a refusal until the reset", err)
		}
	}
	return count
}

func TestWhileThereIsEnoughEverybodyMints(t *testing.T) {
	p := newPurse()
	if got := p.allowed(t, "sb-1", 800, true); got != 800 {
		t.Errorf("%d mints are allowed, want 800", got)
	}
}

func TestWhatIsScarceIsShared(t *testing.T) {
	p := newPurse()
	for i := range 10 {
		p.allowed(t, fmt.Sprint("sb-", i), 1, false)
	}
	p.rate.Remaining = 199
	if got := p.allowed(t, "sb-0", 500, false); got != 19 {
		t.Errorf("the greedy one may cause %d mints, want a tenth of 199", got)
	}
	for i := 1; i < 10; i++ {
		if got := p.allowed(t, fmt.Sprint("sb-", i), 19, false); got != 19 {
			t.Errorf("sb-%d may cause %d mints, want its 19", i, got)
		}
	}
	if p.rate.Remaining < 0 {
		t.Errorf("%d are left, want none overdrawn", p.rate.Remaining)
	}
	p.now = p.rate.Reset
	if got := p.allowed(t, "sb-0", 5, false); got != 5 {
		t.Errorf("after the reset %d mints are allowed, want 5", got)
	}
}

// A share is at least one, and a workspace that was inactive for an hour has none.
func TestSharesAreOfTheActive(t *testing.T) {
	p := newPurse()
	for i := range 50 {
		p.allowed(t, fmt.Sprint("old-", i), 1, false)
	}
	p.rate.Remaining = 20
	if got := p.allowed(t, "sb-1", 5, false); got != 1 {
		t.Errorf("with more workspaces than requests %d mints are allowed, want 1", got)
	}
	p.now = p.now.Add(2 * time.Hour)
	p.rate = mint.Rate{Limit: 1000, Remaining: 100, Reset: p.now.Add(time.Hour)}
	if got := p.allowed(t, "sb-1", 200, false); got != 100 {
		t.Errorf("alone it may cause %d mints, want all 100", got)
	}
}

// A workspace that asks again is active again, and others are removed in order.
func TestTheActiveAreForgottenInTheirOrder(t *testing.T) {
	p := newPurse()
	p.rate.Reset = p.now.Add(24 * time.Hour)
	for _, id := range []string{"a", "b", "c", "a"} {
		p.allowed(t, id, 1, false)
		p.now = p.now.Add(20 * time.Minute)
	}
	p.allowed(t, "d", 1, false) // b asked over an hour ago
	p.now = p.now.Add(time.Second)
	p.allowed(t, "d", 1, false)
	if _, has := p.active["b"]; has || len(p.active) != 3 || p.order.Len() != 3 {
		t.Errorf("active are %v, and %d in order, want a, c and d", slices.Sorted(maps.Keys(p.active)), p.order.Len())
	}
}

// active makes a budget with n active workspaces.
func active(n int) *Budget {
	p := newPurse()
	for i := range n {
		_ = p.Allow(fmt.Sprint("sb-", i), false) // nothing is scarce
	}
	return p.Budget
}

// Allow is called under the cache's mutex, which every request needs.
func TestAMintIsAllowedInOneTimeHoweverManyAreActive(t *testing.T) {
	const mints = 2000
	took := func(b *Budget) time.Duration {
		least := time.Hour // this machine may be slow
		for range 5 {
			begun := time.Now()
			for range mints {
				_ = b.Allow("sb-7", false)
			}
			least = min(least, time.Since(begun))
		}
		return least
	}
	few, many := took(active(100)), took(active(50_000))
	if many > 20*few {
		t.Errorf("%d mints take %v with 50,000 active and %v with 100, want about the same", mints, many, few)
	}
}

func BenchmarkBudget(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint(n, " active"), func(b *testing.B) {
			budget := active(n)
			for b.Loop() {
				_ = budget.Allow("sb-7", false)
			}
		})
	}
}

func TestTheReserveIsForWhoHasNoToken(t *testing.T) {
	p := newPurse()
	p.rate.Remaining = 49
	if got := p.allowed(t, "sb-1", 3, true); got != 0 {
		t.Errorf("%d mints are allowed for a scope that has a token, want none", got)
	}
	if got := p.allowed(t, "sb-1", 3, false); got != 3 {
		t.Errorf("%d mints are allowed for a scope that has none, want 3", got)
	}
	p.Rate = func() (mint.Rate, bool) { return mint.Rate{}, false }
	if err := p.Allow("sb-1", true); err != nil {
		t.Errorf("before GitHub has said anything: %v", err)
	}
}

// While the budget refuses, the cache still answers with the token that it has.
func TestTheCacheGivesWhatItHasWhileTheBudgetRefuses(t *testing.T) {
	b := newBench(t)
	if got := b.token("ci", "acme/widgets", "read"); got.Code != 200 {
		t.Fatalf("answer = %d %s", got.Code, got.Body)
	}
	var asked []bool
	b.cache.Budget = func(_ string, _ Scope, hasToken bool) error {
		asked = append(asked, hasToken)
		return scarce(time.Minute, "no more")
	}
	b.Advance(58 * time.Minute)
	if got := b.token("ci", "acme/widgets", "read"); got.Code != 200 {
		t.Errorf("with a token in its last minutes: %d %s", got.Code, got.Body)
	}
	if got := b.token("ci", "octo/widgets", "read"); got.Code != 429 || got.Header().Get("Retry-After") != "60" {
		t.Errorf("without a token: %d %v, want 429 in a minute", got.Code, got.Header())
	}
	if len(asked) != 2 || !asked[0] || asked[1] {
		t.Errorf("the budget was asked with %v, want with a token and without", asked)
	}
}
