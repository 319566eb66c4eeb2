package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/broker/blocklist"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/storetest"
)

// tally counts a store's calls about shared tokens, by kind.
type tally struct {
	store.Store
	mu     sync.Mutex // guards the rest
	counts map[string]int
	// onGet is called after a shared entry was read, before the caller gets it; nil
	// disables it.
	onGet func()
}

func (c *tally) count(kind string, n store.Name) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = map[string]int{}
	}
	if n.IsShared() { // not the block list
		c.counts[kind]++
	}
}

// take returns the counts since the last call, as text.
func (c *tally) take() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var text []string
	for _, kind := range slices.Sorted(maps.Keys(c.counts)) {
		text = append(text, fmt.Sprint(c.counts[kind], " ", kind))
	}
	c.counts = nil
	return strings.Join(text, ", ")
}

func (c *tally) Get(ctx context.Context, n store.Name) (store.Entry, error) {
	c.count("get", n)
	e, err := c.Store.Get(ctx, n)
	if c.onGet != nil && n.IsShared() {
		c.onGet()
	}
	return e, err
}

func (c *tally) Put(ctx context.Context, n store.Name, v store.Secret, mode store.Mode) error {
	c.count([]string{"create", "replace"}[mode], n)
	return c.Store.Put(ctx, n, v, mode)
}

func (c *tally) Delete(ctx context.Context, n store.Name) error {
	c.count("delete", n)
	return c.Store.Delete(ctx, n)
}

// press mints tokens for widgets, like GitHub.
type press struct {
	mu    sync.Mutex // guards the rest
	made  int
	takes time.Duration
	err   error
}

func (p *press) mint(ctx context.Context, s Scope) (mint.Minted, error) {
	p.mu.Lock()
	p.made++
	n, takes, err := p.made, p.takes, p.err
	p.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return mint.Minted{}, ctx.Err()
	}
	if err != nil {
		return mint.Minted{}, err
	}
	t := credential.NewToken(fmt.Sprint("ghs_", n), time.Now().Add(credential.Lifetime))
	t.Repositories, t.RepositoryIDs, t.Permissions = []string{s.Repo.String()}, []int64{7}, map[string]string{"contents": "read", "metadata": "read"}
	return mint.Minted{Token: t}, nil
}

func (p *press) mints() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.made
}

// A replica is a broker's token cache, on a store shared with others.
type replica struct {
	*Cache
	blocks *blocklist.List
}

// fleet makes n replicas on one store that mint with one press.
func fleet(n int, in store.Store, p *press) (all []replica) {
	for range n {
		r := replica{new(Cache), &blocklist.List{Store: in}}
		r.blocks.OnAdded = func(added store.Blocks) {
			r.Drop(func(_ Scope, t credential.Token) bool { return added.Tokens[t.ID().String()] })
		}
		r.Shared = newShared(in, r.blocks.Marked, nil)
		r.Mint = published(r.Shared, p.mint)
		all = append(all, r)
	}
	return all
}

// give asks a replica for widgets.
func (r replica) give(t *testing.T, ttl time.Duration) credential.Token {
	t.Helper()
	got, _, err := r.Get(t.Context(), "sb-1", widgets, ttl)
	if err != nil {
		t.Errorf("Get = %v, want a token", err)
	}
	return got
}

// Four replicas that are asked for one scope at the same moment mint one token, with
// few calls of the store. A token in memory needs none.
func TestOneMintForOneScopeAtFourReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, p := &tally{Store: new(storetest.Memory)}, &press{takes: 600 * time.Millisecond}
		all := fleet(4, in, p)
		tokens := make([]string, len(all))
		var asked sync.WaitGroup
		for i, r := range all {
			asked.Go(func() { tokens[i] = r.give(t, 0).Secret() })
		}
		asked.Wait()
		slices.Sort(tokens)
		if p.mints() != 1 || len(slices.Compact(tokens)) != 1 {
			t.Errorf("%d mints give the tokens %q, want one", p.mints(), tokens)
		}
		var creates, gets int
		got := in.take()
		if _, err := fmt.Sscanf(got, "%d create, %d get, 1 replace", &creates, &gets); err != nil || creates > 4 || gets > 4*4 {
			t.Errorf("it costs %s, want a claim by each, one write, and four reads by each", got)
		}
		t.Log("four replicas at one moment cost", got)
		for _, r := range all {
			r.give(t, 0)
		}
		if got := in.take(); got != "" {
			t.Errorf("warm requests cost %s, want nothing", got)
		}
		late := fleet(1, in, p)[0]
		if late.give(t, 0); p.mints() != 1 {
			t.Errorf("%d mints after a replica began, want one", p.mints())
		}
		if got := in.take(); strings.Contains(got, "create") || strings.Contains(got, "replace") {
			t.Errorf("a replica that takes the token costs %s, want reads only", got)
		}
	})
}

// Also early replacement happens once for all replicas, and no request waits for it.
func TestATokenIsReplacedOnceForAllReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, p := &tally{Store: new(storetest.Memory)}, &press{takes: time.Second}
		all := fleet(4, in, p)
		const hours = 10
		begun := time.Now()
		for time.Since(begun) < hours*time.Hour {
			for _, r := range all {
				asked := time.Now()
				got := r.give(t, 0)
				if left := time.Until(got.Expiry); left <= minLife || p.mints() > 1 && time.Since(asked) > 0 {
					t.Fatalf("a token with %v left after %v, want more than %v, and at once", left, time.Since(asked), minLife)
				}
			}
			time.Sleep(20 * time.Second)
		}
		if most := hours*60/45 + 1; p.mints() > most {
			t.Errorf("%d mints in %d hours at four replicas, want %d at most, one for each three quarters of an hour", p.mints(), hours, most)
		}
		t.Logf("%d mints in %d hours cost %s", p.mints(), hours, in.take())
	})
}

// If the replica that mints fails, the others do not fail for long.
func TestTheReplicaThatMintsIsInTrouble(t *testing.T) {
	for _, c := range []struct {
		name  string
		takes time.Duration // of its mint
		err   error
		waits time.Duration // the longest wait of the other one
	}{
		{"GitHub refuses it", 300 * time.Millisecond, &Refusal{Status: 403}, 2 * time.Second},
		{"GitHub is slow", 20 * time.Second, nil, shareTimeout + time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			in := new(storetest.Memory)
			trouble, p := &press{takes: c.takes, err: c.err}, &press{made: 100}
			first, other := fleet(1, in, trouble)[0], fleet(1, in, p)[0]
			go func() { _, _, _ = first.Get(t.Context(), "sb-1", widgets, 0) }()
			time.Sleep(100 * time.Millisecond)
			asked := time.Now()
			if got := other.give(t, 0); got.Secret() != "ghs_101" || time.Since(asked) > c.waits {
				t.Errorf("%s: the other replica gives %q after %v, want its own within %v", c.name, got.Secret(), time.Since(asked), c.waits)
			}
			time.Sleep(time.Minute) // lets the first one end
		})
	}
}

// A replica that died while it minted delays others no longer than its claim lasts.
func TestTheReplicaThatMintsDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, p := &tally{Store: new(storetest.Memory)}, &press{takes: time.Second}
		name, err := slotName(widgets, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if won, err := store.Claim(t.Context(), in, name, time.Now().Add(claimLife)); !won || err != nil {
			t.Fatal(won, err)
		}
		time.Sleep(claimLife)
		all := fleet(4, in, p)
		var asked sync.WaitGroup
		for _, r := range all {
			asked.Go(func() { r.give(t, 0) })
		}
		asked.Wait()
		if p.mints() != 1 {
			t.Errorf("%d mints after the claim of a replica that died is over, want one", p.mints())
		}
	})
}

// The store gives only a valid token of exactly that scope.
func TestWhatIsNotTakenFromTheStore(t *testing.T) {
	fits := func() credential.Token {
		m, _ := new(press).mint(context.Background(), widgets)
		return m.Token
	}
	for name, change := range map[string]func(*credential.Token, *Scope){
		"a token of another repository":  func(t *credential.Token, _ *Scope) { t.Repositories = []string{"acme/payroll"} },
		"one of two repositories":        func(t *credential.Token, _ *Scope) { t.Repositories = []string{"acme/widgets", "acme/payroll"} },
		"one of another id":              func(t *credential.Token, _ *Scope) { t.RepositoryIDs = []int64{7, 8} },
		"one that names no repository":   func(t *credential.Token, _ *Scope) { t.Repositories = nil },
		"one that may write":             func(t *credential.Token, _ *Scope) { t.Permissions["contents"] = "write" },
		"one that may do something else": func(t *credential.Token, _ *Scope) { t.Permissions["issues"] = "read" },
		"one that may do nothing":        func(t *credential.Token, _ *Scope) { t.Permissions = nil },
		"one of another profile":         func(_ *credential.Token, s *Scope) { s.For = "profile other" },
		"one that has ended":             func(t *credential.Token, _ *Scope) { t.Expiry = time.Now() },
		"one in its last quarter":        func(t *credential.Token, _ *Scope) { t.Expiry = time.Now().Add(freshLife) },
		"one that lasts too long":        func(t *credential.Token, _ *Scope) { t.Expiry = time.Now().Add(2*credential.Lifetime + slotLife) },
		"one that is none":               func(t *credential.Token, _ *Scope) { *t = credential.NewToken("two words", t.Expiry) },
	} {
		synctest.Test(t, func(t *testing.T) {
			in, p := new(storetest.Memory), &press{made: 100}
			r := fleet(1, in, p)[0]
			at, err := slotName(widgets, time.Now())
			token, scope := fits(), widgets
			change(&token, &scope)
			if err == nil {
				err = r.Shared.write(t.Context(), at, scope, token, store.Replace, time.Now())
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := r.give(t, 0); got.Secret() != "ghs_101" {
				t.Errorf("%s: %q is given, want a new token", name, got.Secret())
			}
			if got := fleet(1, in, p)[0].give(t, 0); got.Secret() != "ghs_101" {
				t.Errorf("%s: the next replica gives %q, want the new one", name, got.Secret())
			}
		})
	}
	synctest.Test(t, func(t *testing.T) { // so that the others fail for their own reasons
		in, p := new(storetest.Memory), &press{made: 100}
		r := fleet(1, in, p)[0]
		at, err := slotName(widgets, time.Now())
		if err == nil {
			err = r.Shared.write(t.Context(), at, widgets, fits(), store.Replace, time.Now())
		}
		if got := r.give(t, 0); err != nil || got.Secret() != "ghs_1" {
			t.Errorf("one of exactly that scope: %q is given, %v, want it", got.Secret(), err)
		}
	})
}

// A revoked token never comes back from the store, whichever replica revoked it.
// Replicas that need another mint one together.
func TestARevokedTokenDoesNotComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, p := new(storetest.Memory), &press{takes: time.Second}
		all := fleet(4, in, p)
		old := all[0].give(t, 0)
		if err := all[3].blocks.BlockToken(t.Context(), old, store.Name{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		var asked sync.WaitGroup
		for _, r := range all {
			asked.Go(func() {
				if err := r.blocks.Check(t.Context()); err != nil { // as each request does first
					t.Error(err)
				}
				if got := r.give(t, 0); got.Secret() == old.Secret() {
					t.Error("a replica gives the revoked token")
				}
			})
		}
		asked.Wait()
		if p.mints() != 2 {
			t.Errorf("%d mints, want the revoked token and another", p.mints())
		}
	})
}

// If a token is revoked after it was read from the store and before it is in memory,
// dropping the revoked tokens would miss it.
func TestATokenIsRevokedWhileItIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, p := &tally{Store: new(storetest.Memory)}, new(press)
		r := fleet(1, in, p)[0]
		old := fleet(1, in, p)[0].give(t, 0)
		marked := r.Shared.Marked
		r.Shared.Marked = func(ctx context.Context, token credential.Token) (bool, error) {
			is, err := marked(ctx, token)
			r.Shared.Marked = marked
			return is, errors.Join(err, r.blocks.BlockToken(ctx, token, store.Name{}))
		}
		if got := r.give(t, 0); got.Secret() == old.Secret() {
			t.Error("the revoked token is given")
		}
		if got := r.give(t, 0); got.Secret() == old.Secret() || p.mints() != 2 {
			t.Errorf("%q is given after %d mints, want the second", got.Secret(), p.mints())
		}
	})
}

// While the block list cannot be read, no shared token is used.
func TestNothingIsSharedWithoutTheListOfRevokedTokens(t *testing.T) {
	in, p := new(storetest.Memory), new(press)
	fleet(1, in, p)[0].give(t, 0)
	r := fleet(1, in, p)[0]
	r.Shared.Marked = func(context.Context, credential.Token) (bool, error) { return false, errors.New("away") }
	got, _, err := r.Get(t.Context(), "sb-1", widgets, 0)
	if refusal, ok := errors.AsType[*Refusal](err); !ok || refusal.Status != 503 || !got.IsZero() {
		t.Errorf("Get = %v, %v, want 503", got, err)
	}
}

// A request for a long lifetime gets a new token, which the others also use. The old
// one still works, and is stored where revocations find it.
func TestATokenThatLastsLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, p := new(storetest.Memory), new(press)
		all := fleet(3, in, p)
		all[0].give(t, 0)
		time.Sleep(20 * time.Minute)
		for _, r := range all[1:] {
			if got := r.give(t, 50*time.Minute); got.Secret() != "ghs_2" {
				t.Errorf("%q is given to who needs it for 50 minutes, want a new one for all", got.Secret())
			}
		}
		names, err := SharedEntries(t.Context(), in, "acme", "widgets")
		kept := map[string]bool{}
		for _, n := range names {
			if e, err := in.Get(t.Context(), n); err == nil {
				kept[ReadVended(e).Token.Secret()] = true
			}
		}
		if err != nil || !kept["ghs_1"] || !kept["ghs_2"] {
			t.Errorf("the entries of widgets have %v, %v, want both tokens", slices.Sorted(maps.Keys(kept)), err)
		}
		if names, err := SharedEntries(t.Context(), in, "acme", "gadgets"); err != nil || len(names) > 0 {
			t.Errorf("the entries of gadgets are %v, %v, want none", names, err)
		}
	})
}

// A request that waited for a search with a smaller lifetime searches again.
func TestARequestThatNeedsMoreThanTheOneBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, p := &tally{Store: new(storetest.Memory)}, new(press)
		fleet(1, in, p)[0].give(t, 0)
		time.Sleep(20 * time.Minute)
		r := fleet(1, in, p)[0]
		in.onGet = func() { time.Sleep(time.Second) }
		var asked sync.WaitGroup
		asked.Go(func() { r.give(t, 0) })
		asked.Go(func() {
			time.Sleep(time.Millisecond)
			if got := r.give(t, 50*time.Minute); time.Until(got.Expiry) <= 50*time.Minute {
				t.Errorf("a token with %v left is given, want more than 50 minutes", time.Until(got.Expiry))
			}
		})
		asked.Wait()
	})
}

// A workspace that may cause no mint still gets another replica's token, and the
// refusal of one workspace does not affect another.
func TestTheBudgetIsNotSpentOnWhatIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, p := &tally{Store: new(storetest.Memory)}, &press{takes: time.Second}
		all := fleet(3, in, p)
		used := errors.New("its share is used up")
		for _, r := range all {
			r.Budget = func(workspace string, _ Scope, _ bool) error {
				if workspace == "greedy" {
					return &Refusal{Status: 429, Reason: ReasonLimit, Err: used}
				}
				return nil
			}
		}
		in.onGet = func() { time.Sleep(time.Second) }
		if _, _, err := all[0].Get(t.Context(), "greedy", widgets, 0); !errors.Is(err, used) || p.mints() != 0 {
			t.Errorf("Get = %v after %d mints, want the refusal", err, p.mints())
		}
		in.take()
		if _, _, err := all[0].Get(t.Context(), "greedy", widgets, 0); !errors.Is(err, used) || in.take() != "" {
			t.Errorf("Get = %v, want the refusal without a look into the store each time", err)
		}
		time.Sleep(outageLife)
		var asked sync.WaitGroup
		asked.Go(func() { _, _, _ = all[0].Get(t.Context(), "greedy", widgets, 0) })
		asked.Go(func() {
			time.Sleep(time.Millisecond) // it waits for the search of the greedy one
			all[0].give(t, 0)
		})
		asked.Wait()
		if got, _, err := all[1].Get(t.Context(), "greedy", widgets, 0); err != nil || got.Secret() != "ghs_1" || p.mints() != 1 {
			t.Errorf("Get = %v, %v after %d mints, want what another replica made", got, err, p.mints())
		}
	})
}

// keyed is a store that encrypts with a key for each workspace.
type keyed struct{ store.Store }

func (keyed) KeyOf(n store.Name) string {
	id, _ := n.Workspace()
	return id
}

// If each workspace has its own key, no token is stored under a common key.
func TestNothingIsSharedUnderAnotherKey(t *testing.T) {
	if s := newShared(keyed{new(storetest.Memory)}, nil, nil); s != nil {
		t.Errorf("newShared = %v, want nothing", s)
	}
}

// Scopes change names at different times, and no name says that a token expires before
// it does.
func TestTheNamesOfAScope(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	ends := map[time.Time]bool{}
	for i := range 100 {
		s := Scope{Repo: gitname.Repo{Owner: "acme", Name: fmt.Sprint("r", i)}}
		var last store.Name
		changes := 0
		for at := now; at.Before(now.Add(slotLife)); at = at.Add(time.Second) {
			name, err := slotName(s, at)
			end, ok := name.Ends()
			if err != nil || !ok || end.Sub(at) <= credential.Lifetime || end.Sub(at) > credential.Lifetime+slotLife {
				t.Fatalf("at %v: %s ends %v, %v, want it after every token that is made then", at, name, end, err)
			}
			if name != last {
				last, changes = name, changes+1
				ends[end] = true
			}
		}
		if changes > 2 {
			t.Errorf("%v has %d names within %v, want two at most", s.Repo, changes, slotLife)
		}
	}
	if len(ends) < 100 {
		t.Errorf("100 scopes have %d moments at which names change, want about as many", len(ends))
	}
}

// Tokens of one workspace alone cost the store one write for each account and 45
// minutes.
func TestWhatOneWorkspaceHasAloneIsNotShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, p := &tally{Store: new(storetest.Memory)}, new(press)
		all := fleet(2, in, p)
		for i := range 20 {
			for _, owner := range []string{"acme", "octo"} {
				own := Scope{Repo: gitname.Repo{Owner: owner, Name: "widgets"}, Grant: widgets.Grant, For: ownPrefix + fmt.Sprint("sb-", i)}
				for _, r := range all {
					if _, _, err := r.Get(t.Context(), "sb", own, 0); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		if got := in.take(); p.mints() != 80 || got != "4 create" {
			t.Errorf("%d mints cost %s, want 80 and a write of each replica for each account", p.mints(), got)
		}
	})
}
