package workspace

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// crowd is a city with many workspaces.
type crowd struct{ *city }

func newCrowd(t *testing.T, limit int) crowd {
	t.Helper()
	return crowd{newCityWithLimit(t, limit)}
}

// settle makes workspaces named by their number.
func (c crowd) settle(n int, repositories string) {
	c.t.Helper()
	i := c.run(&mortal{})
	for k := range n {
		if _, err := i.Create(c.t.Context(), fmt.Sprintf("sb-%d", k), profileOf(c.t, repositories), 0); err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c crowd) round() Summary {
	c.t.Helper()
	sum, err := (&Round{Issuer: c.run(&mortal{})}).Run(c.t.Context())
	if err != nil {
		c.t.Fatalf("Round = %+v, %v", sum, err)
	}
	return sum
}

// asked counts the requests for tokens since the last reset.
func (c crowd) asked() int { return c.Count(isMint) }

func isMint(r fakegithub.Request) bool {
	return r.Method == http.MethodPost && strings.HasSuffix(r.Path, "/access_tokens")
}

func TestPassMintsWhatIsDueAndNoMore(t *testing.T) {
	c := newCrowd(t, 0)
	c.settle(30, "acme/widgets")
	c.ResetRequests()
	if sum := c.round(); sum.Workspaces != 30 || sum.Due != 0 || c.asked() != 0 {
		t.Errorf("a round over fresh workspaces = %+v, %d mints, want nothing due", sum, c.asked())
	}
	c.Advance(45 * time.Minute)
	sum := c.round()
	if sum.Due != 30 || sum.Refreshed != 30 || sum.Minted != 30 || c.asked() != 30 || sum.Expired != 0 {
		t.Errorf("a round = %+v, %d mints, want one for each of 30", sum, c.asked())
	}
	if left := sum.Soonest.Sub(c.Now()); left < 59*time.Minute {
		t.Errorf("the first token ends in %s, want an hour", left)
	}
	forced, err := (&Round{Issuer: c.run(&mortal{}), Force: true}).Run(t.Context())
	if err != nil || forced.Minted != 30 || forced.Revoked != 0 {
		t.Errorf("a forced round = %+v, %v, want 30 new tokens", forced, err)
	}
	c.Advance(DefaultGrace)
	if sum := c.round(); sum.Revoked != 30 || sum.Minted != 0 || len(c.Tokens()) != 30 {
		t.Errorf("a round after the grace = %+v, want 30 superseded tokens revoked", sum)
	}
}

// An installation is listed once, however many workspaces have a wildcard.
func TestPassListsAnInstallationOnce(t *testing.T) {
	c := newCrowd(t, 0)
	c.settle(12, "acme/*")
	c.Advance(45 * time.Minute)
	c.ResetRequests()
	if sum := c.round(); sum.Refreshed != 12 || sum.Minted != 12 {
		t.Errorf("a round = %+v, want 12 refreshed", sum)
	}
	lists := c.Count(func(r fakegithub.Request) bool { return strings.HasSuffix(r.Path, "/installation/repositories") })
	if c.asked() != 13 || lists != 1 {
		t.Errorf("%d tokens and %d listings were asked for, want 13 and 1", c.asked(), lists)
	}
}

// If something is gone for one workspace, it is gone for all: GitHub is not asked a
// thousand times.
func TestPassLearns(t *testing.T) {
	for _, c := range []struct {
		name   string
		break_ func(crowd)
		most   int // requests to GitHub
		want   string
	}{
		{"the App was removed from the account", func(c crowd) { c.removeFrom("acme") }, 8, "GitHub answered 404"},
		{"the installation is suspended", func(c crowd) { c.suspend("acme") }, 4, "suspended"},
		{"the key is no longer the App's", func(c crowd) { c.RemoveKey(c.app.ID, &testKey.PublicKey) }, 4, "gatepass app key check"},
		{"GitHub is down", func(c crowd) { c.Fail(fakegithub.To("", ""), fakegithub.Status(http.StatusBadGateway), -1) }, 4 * (maxOutages + 4), "times in a row"},
		{"the rate limit is used up", func(c crowd) { c.Fail(fakegithub.To("", ""), fakegithub.RateLimited(time.Hour), -1) }, 4, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				city := newCrowd(t, 0)
				city.settle(40, "acme/widgets")
				city.Advance(45 * time.Minute)
				c.break_(city)
				city.ResetRequests()
				var texts []string
				p := &Round{Issuer: city.run(&mortal{}), Workers: 3, Each: func(r Result) { texts = append(texts, fmt.Sprint(r.Err)) }}
				sum, err := p.Run(t.Context())
				if err != nil || sum.Due != 40 || sum.Refreshed != 0 || sum.Minted != 0 {
					t.Errorf("the round = %+v, %v, want 40 that fail", sum, err)
				}
				if c.want == "" && sum.Deferred != 40 {
					t.Errorf("the round = %+v, want all left to the next", sum)
				}
				if n := city.Count(func(fakegithub.Request) bool { return true }); n > c.most {
					t.Errorf("GitHub was asked %d times, want at most %d", n, c.most)
				}
				if all := strings.Join(texts, "\n"); !strings.Contains(all, c.want) {
					t.Errorf("the errors are\n%s\nwant %q in them", all, c.want)
				}
			})
		})
	}
}

func (c crowd) removeFrom(owner string) { c.each(owner, c.RemoveInstallation) }
func (c crowd) suspend(owner string) {
	c.each(owner, func(id int64) error { return c.Suspend(id, true) })
}

func (c crowd) each(owner string, do func(int64) error) {
	c.t.Helper()
	installed, err := StoredInstallations(c.t.Context(), c.store)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, in := range installed {
		if in.Account.Login == owner {
			if err := do(in.ID); err != nil {
				c.t.Fatal(err)
			}
		}
	}
}

// With little left of the rate limit, tokens that expire before its reset go first, and
// those that last longer wait.
func TestPassKeepsAReserve(t *testing.T) {
	c := newCrowd(t, 50)
	i := c.run(&mortal{})
	w := (&Round{Issuer: i}).worker()
	now := c.Now()
	i.App.Self(t.Context()) // to get an answer with the limit
	rate, ok := i.App.Rate()
	if !ok || rate.Limit != 50 || rate.Remaining != 49 || !rate.Reset.After(now) {
		t.Fatalf("Rate = %+v, %v, want what GitHub said", rate, ok)
	}
	later, sooner := item{ends: rate.Reset.Add(10 * time.Minute)}, item{ends: rate.Reset.Add(-time.Minute)}
	if w.canWait(later) {
		t.Error("a workspace waits although plenty is left")
	}
	for range rate.Remaining - rate.Limit/reservePart {
		i.App.Self(t.Context())
	}
	if !w.canWait(later) || w.canWait(sooner) || w.canWait(item{}) {
		t.Errorf("later waits: %v, sooner waits: %v, a new one waits: %v, want the first only", w.canWait(later), w.canWait(sooner), w.canWait(item{}))
	}
}

// A record that cannot be read, a workspace that another run works on, and one that is
// being destroyed: each is one line, and none stops the work on the others.
func TestPassGoesOn(t *testing.T) {
	c := newCrowd(t, 0)
	c.settle(4, "acme/widgets")
	ctx := t.Context()
	record, _ := store.Record("sb-0")
	if err := c.store.Put(ctx, record, store.NewSecret("{"), store.Replace); err != nil {
		t.Fatal(err)
	}
	lock, _ := store.Lock("sb-1")
	if _, err := c.run(&mortal{}).locks().acquire(ctx, "sb-1", lock); err != nil {
		t.Fatal(err)
	}
	c.Fail(fakegithub.To(http.MethodDelete, "/installation/token"), fakegithub.Status(http.StatusForbidden), 1)
	if _, err := c.run(&mortal{}).Destroy(ctx, "sb-2"); err == nil {
		t.Fatal("Destroy is done, want an error")
	}
	results := map[string]error{}
	p := &Round{Issuer: c.run(&mortal{}), Force: true, Each: func(r Result) { results[r.Workspace] = r.Err }}
	sum, err := p.Run(ctx)
	if err != nil || sum.Failed != 1 || sum.Busy != 1 || sum.Refreshed != 2 || sum.Minted != 1 {
		t.Errorf("the round = %+v, %v, want one failed, one busy, two done", sum, err)
	}
	if results["sb-0"] == nil || !errors.Is(results["sb-1"], ErrBusy) || results["sb-2"] != nil || results["sb-3"] != nil {
		t.Errorf("results = %v", results)
	}
	if _, err := c.run(&mortal{}).Load(ctx, "sb-2"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the half destroyed workspace: %v, want it gone", err)
	}
}

func TestPassEndsWithItsTime(t *testing.T) {
	c := newCrowd(t, 0)
	c.settle(5, "acme/widgets")
	c.Advance(45 * time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	p := &Round{Issuer: c.run(&mortal{}), Workers: 1, Each: func(Result) { cancel() }}
	sum, err := p.Run(ctx)
	if !errors.Is(err, context.Canceled) || sum.Refreshed != 1 || sum.Deferred != 4 {
		t.Errorf("Run = %+v, %v, want one done and four deferred", sum, err)
	}
}

// A round that has to stop finishes what it has begun.
func TestPassStops(t *testing.T) {
	c := newCrowd(t, 0)
	c.settle(5, "acme/widgets")
	c.Advance(45 * time.Minute)
	stop := make(chan struct{})
	i := c.run(&mortal{})
	i.Audit = func(e Event) { // stopped while it works on the first workspace
		if e.Type == Generated {
			close(stop)
		}
	}
	sum, err := (&Round{Issuer: i, Workers: 1, Stop: stop}).Run(t.Context())
	if err != nil || sum.Refreshed != 1 || sum.Deferred != 4 || sum.Failed != 0 || sum.Minted != 1 {
		t.Errorf("Run = %+v, %v, want one finished and four deferred", sum, err)
	}
}

// What is given up because the time is over has not failed.
func TestPassGivesUp(t *testing.T) {
	c := newCrowd(t, 0)
	c.settle(3, "acme/widgets")
	c.Advance(45 * time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	i := c.run(&mortal{})
	i.App.Client = &http.Client{Transport: giveUp{cancel}}
	sum, err := (&Round{Issuer: i, Workers: 1}).Run(ctx)
	if !errors.Is(err, context.Canceled) || sum.Deferred != 3 || sum.Failed != 0 {
		t.Errorf("Run = %+v, %v, want all deferred", sum, err)
	}
}

// giveUp is a GitHub that cancels the context when it is asked.
type giveUp struct{ cancel func() }

func (g giveUp) RoundTrip(r *http.Request) (*http.Response, error) {
	g.cancel()
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// A round over one workspace works on it whether its record has something due or not.
func TestPassOverOne(t *testing.T) {
	c := newCrowd(t, 0)
	c.settle(3, "acme/widgets")
	ctx := t.Context()
	token, _ := store.Token("sb-1", "acme")
	if err := c.store.Delete(ctx, token); err != nil {
		t.Fatal(err)
	}
	sum, err := (&Round{Issuer: c.run(&mortal{}), Only: "sb-1"}).Run(ctx)
	if err != nil || sum.Workspaces != 1 || sum.Due != 1 || sum.Refreshed != 1 || sum.Minted != 1 || sum.Soonest.IsZero() {
		t.Errorf("a round over sb-1 = %+v, %v, want its lost token replaced", sum, err)
	}
	if sum, err := (&Round{Issuer: c.run(&mortal{}), Only: "sb-1"}).Run(ctx); err != nil || sum.Minted != 0 || sum.Refreshed != 1 {
		t.Errorf("another = %+v, %v, want nothing minted", sum, err)
	}
	if sum, err := (&Round{Issuer: c.run(&mortal{}), Only: "sb-9"}).Run(ctx); !errors.Is(err, store.ErrNotFound) || sum.Due != 0 {
		t.Errorf("a round over an unknown workspace = %+v, %v, want ErrNotFound", sum, err)
	}
	for range 2 { // the second time, the record counts
		sum, err = (&Round{Issuer: c.run(&mortal{}), Only: "sb-9", New: profileOf(t, "octo/widgets")}).Run(ctx)
		if err != nil || sum.Due != 1 || sum.Refreshed != 1 {
			t.Errorf("a round that makes it = %+v, %v, want it well", sum, err)
		}
	}
	if r, err := c.run(&mortal{}).Load(ctx, "sb-9"); err != nil || len(r.Tokens) != 1 || r.Tokens[0].Owner != "octo" {
		t.Errorf("its record = %+v, %v, want one token for octo", r, err)
	}
}

// The number of the issue, with a tenth of the workspaces; "make bench" has them all.
func TestPassOverAThousand(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 100_000)
	c.settle(1000, "acme/widgets")
	c.Advance(45 * time.Minute)
	c.ResetRequests()
	if sum := c.round(); sum.Minted != 1000 || c.asked() != 1000 || sum.Failed != 0 {
		t.Errorf("a round = %+v, %d mints, want 1000", sum, c.asked())
	}
}

// counts are numbers of calls to a store.
type counts struct{ writes, deletes, reads int }

func (c *counts) add(call string) {
	switch {
	case strings.HasPrefix(call, "put "):
		c.writes++
	case strings.HasPrefix(call, "delete "):
		c.deletes++
	default:
		c.reads++
	}
}

func (c counts) String() string { return fmt.Sprintf("| %d | %d | %d |", c.writes, c.deletes, c.reads) }

// costs returns the calls that rounds every five minutes make for a workspace, by what
// they do.
func costs(t *testing.T, repositories string, grace time.Duration, isPlain bool) (mint, end counts) {
	t.Helper()
	c, s := countedCity(t, 0)
	c.create(repositories)
	for range 40 { // the costs are constant by the last of them
		c.Advance(5 * time.Minute)
		s.take()
		i := c.run(&mortal{isPlain: isPlain})
		i.Grace = grace
		sum, err := (&Round{Issuer: i}).Run(t.Context())
		if err != nil || sum.Failed > 0 || sum.Expired > 0 {
			t.Fatalf("the round = %+v, %v", sum, err)
		}
		var own counts
		isOwn := false // calls before the lock belong to the round
		for _, call := range s.take() {
			if isOwn = isOwn || strings.HasSuffix(call, "/lock"); isOwn {
				own.add(call)
			}
		}
		switch {
		case sum.Minted > 0:
			mint = own
		case sum.Due > 0:
			end = own
		}
	}
	return mint, end
}

// A refresh costs what docs/refresher.md and docs/scale.md say, in a store that compares
// versions and in one that does not.
func TestTheDocsSayWhatARefreshCosts(t *testing.T) {
	docs, err := os.ReadFile("../docs/refresher.md")
	if err != nil {
		t.Fatal(err)
	}
	scale, err := os.ReadFile("../docs/scale.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, isPlain := range []bool{false, true} {
		one, ended := costs(t, "acme/widgets", 0, isPlain)
		two, _ := costs(t, "acme/widgets, octo/widgets", 0, isPlain)
		before, early := costs(t, "acme/widgets", 10*time.Minute, isPlain)
		if ended != (counts{}) {
			t.Errorf("with the default grace the end of a token that has run out makes calls: %s", ended)
		}
		for _, line := range []string{
			"| a new token, of one owner " + one.String(),
			"| new tokens of two owners " + two.String(),
			"| the revocation of an old token that is valid for longer than its grace " + early.String(),
		} {
			if !strings.Contains(string(docs), line+"\n") {
				t.Errorf("docs/refresher.md lacks the line\n%s", line)
			}
		}
		revoked := counts{before.writes + early.writes, before.deletes + early.deletes, 0}
		tokens := func(writes int) int { return int(10_800/(1.6*float64(writes))) / 10 * 10 } // in tens
		for _, text := range []string{
			fmt.Sprintf("[%d writes, %d deletes and %d reads](refresher.md#what-it-costs)", one.writes, one.deletes, one.reads),
			fmt.Sprintf("a refresh writes %d times, and %d times if the old token is revoked: 10,800 writes an hour keep %d or %d tokens fresh", one.writes, revoked.writes, tokens(one.writes), tokens(revoked.writes)),
			fmt.Sprintf("9 reads, 2 pages, %d writes, %d deletes", revoked.writes, revoked.deletes),
		} {
			if !strings.Contains(string(scale), text) {
				t.Errorf("docs/scale.md lacks %q", text)
			}
		}
	}
}
