package mint

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/test/fakegithub"
)

// poolOf returns a GitHub with n Apps on acme that may make limit requests an hour each.
func poolOf(t *testing.T, n, limit int) (*fakegithub.Server, []Candidate) {
	t.Helper()
	gh, err := fakegithub.New(fakegithub.Options{HandlerOnly: true, RESTOnly: true, Root: t.TempDir(), RateLimit: limit})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { gh.Close() })
	if _, err := gh.AddRepository(fakegithub.Repository{Owner: "acme", Name: "widgets"}); err != nil {
		t.Fatal(err)
	}
	var seats []Candidate
	for i := range n {
		app, err := gh.AddApp(fakegithub.App{Slug: fmt.Sprint("gatepass-", i), Keys: []*rsa.PublicKey{&testKey.PublicKey}, Permissions: map[string]string{"contents": "write"}})
		if err != nil {
			t.Fatal(err)
		}
		in, err := gh.AddInstallation(fakegithub.Installation{AppID: app.ID, Account: "acme", RepositorySelection: "all"})
		if err != nil {
			t.Fatal(err)
		}
		seats = append(seats, Candidate{&App{ID: app.ClientID, Signer: &KeySigner{testKey}, URL: "https://github.test", Client: &http.Client{Transport: gh.Transport()}, Now: gh.Now}, in.ID, fmt.Sprint("app-", i)})
	}
	return gh, seats
}

// mintOne mints with the seat that the pool chooses, and returns its index.
func mintOne(t *testing.T, p *Pool, seats []Candidate) (int, error) {
	t.Helper()
	seat, done, err := p.Choose(seats...)
	if err != nil {
		return -1, err
	}
	_, err = seat.App.Mint(t.Context(), Grant{Installation: seat.Installation, Repositories: RepositoryNames("widgets"), Permissions: PermissionLevels(map[string]string{"contents": "read"})})
	done(err)
	return slices.Index(seats, seat), err
}

func TestTheAppWithMostLeftMints(t *testing.T) {
	_, seats := poolOf(t, 3, 100)
	var p Pool
	for range 20 { // by another program that uses the second App
		if _, err := seats[1].App.Self(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	made := make([]int, len(seats))
	for range 100 {
		at, err := mintOne(t, &p, seats)
		if err != nil {
			t.Fatal(err)
		}
		made[at]++
	}
	if !slices.Equal(made, []int{40, 20, 40}) {
		t.Errorf("the Apps minted %v, want 40, 20 and 40, so that all have 60 left", made)
	}
}

// Organizations have limits of 5,000 to 12,500 requests, by their size. Mints are in
// proportion to them.
func TestMintsAreInProportionToTheLimits(t *testing.T) {
	_, seats := poolOf(t, 3, 0)
	var p Pool
	limits, made := []int{5000, 12500, 7500}, make([]int, 3)
	for range 1000 {
		s, done, err := p.Choose(seats...)
		if err != nil {
			t.Fatal(err)
		}
		at := slices.Index(seats, s)
		made[at]++
		h := http.Header{}
		h.Set("X-RateLimit-Limit", strconv.Itoa(limits[at]))
		h.Set("X-RateLimit-Remaining", strconv.Itoa(limits[at]-made[at]))
		h.Set("X-RateLimit-Reset", strconv.FormatInt(s.App.Time().Add(time.Hour).Unix(), 10))
		s.App.state.rate.update(call{installation: s.Installation}, h)
		done(nil)
	}
	for at, limit := range limits {
		if want := 1000 * limit / 25000; made[at] < want*9/10 || made[at] > want*11/10 {
			t.Errorf("the Apps minted %v, want them in proportion to %v", made, limits)
			break
		}
	}
}

// Twenty workers that read the remaining requests at the same time must not all use the
// last request of one App.
func TestMintsAtOneTimeStayWithinEachBudget(t *testing.T) {
	const limit = 40
	gh, seats := poolOf(t, 3, limit)
	var p Pool
	for _, s := range seats {
		if _, err := s.App.Self(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	made := make([]int, len(seats))
	var mu sync.Mutex // guards made and err
	var all sync.WaitGroup
	var err error
	count := func(at int, minted error) {
		mu.Lock()
		defer mu.Unlock()
		if minted == nil {
			made[at]++
		}
		err = minted
	}
	for range 4 * limit {
		all.Go(func() { count(mintOne(t, &p, seats)) })
	}
	all.Wait()
	for err = nil; err == nil; { // requests that counted as in progress although they were answered
		count(mintOne(t, &p, seats))
	}
	if got := gh.Counts(); !slices.Equal(made, []int{limit - 1, limit - 1, limit - 1}) || got.RateLimited != 0 {
		t.Errorf("the Apps minted %v, and %d requests were refused, want %d each and none", made, got.RateLimited, limit-1)
	}
	if e, ok := errors.AsType[*Error](err); !ok || e.Kind != RateLimited || e.RetryAfter < 50*time.Minute {
		t.Errorf("one more is %v, want the rate limit", err)
	}
	gh.Advance(time.Hour)
	if _, err := mintOne(t, &p, seats); err != nil {
		t.Errorf("in the next hour it is %v", err)
	}
}

func TestAppsThatCannotMintArePassedOver(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*fakegithub.Server, Candidate) error
		kind  Kind
	}{
		{"suspended", func(gh *fakegithub.Server, s Candidate) error { return gh.Suspend(s.Installation, true) }, Suspended},
		{"uninstalled", func(gh *fakegithub.Server, s Candidate) error { return gh.RemoveInstallation(s.Installation) }, NotInstalled},
		{"without a permission", func(gh *fakegithub.Server, s Candidate) error {
			return gh.SetPermissions(s.Installation, fakegithub.Permissions{"metadata": "read"})
		}, NotGranted},
		{"whose key was deleted", func(gh *fakegithub.Server, s Candidate) error {
			return gh.RemoveKey(gh.Apps()[0].ID, &testKey.PublicKey)
		}, BadKey},
	} {
		gh, seats := poolOf(t, 2, 0)
		var p Pool
		needed := map[string]string{"contents": "read"}
		for _, s := range seats {
			if err := p.Check(t.Context(), s, needed); err != nil {
				t.Fatalf("%s: Check before = %v", c.name, err)
			}
		}
		if err := c.spoil(gh, seats[0]); err != nil {
			t.Fatal(err)
		}
		_, err := mintOne(t, &p, seats[:1])
		if e, ok := errors.AsType[*Error](err); !ok || e.Kind != c.kind && c.kind != NotGranted || !IsAppSpecific(err) {
			t.Fatalf("%s: the mint is %v, want kind %d, to be passed over", c.name, err, c.kind)
		}
		err = p.Check(t.Context(), seats[0], needed)
		if e, ok := errors.AsType[*Error](err); !ok || e.Kind != c.kind {
			t.Errorf("%s: Check after = %v, want kind %d", c.name, err, c.kind)
		}
		if err := p.Check(t.Context(), seats[1], needed); err != nil {
			t.Errorf("%s: Check of the other = %v", c.name, err)
		}
	}
}

func TestAnAppWithABadKeyIsAskedAgainAfterAMinute(t *testing.T) {
	gh, seats := poolOf(t, 1, 0)
	var p Pool
	app := gh.Apps()[0].ID
	if err := gh.RemoveKey(app, &testKey.PublicKey); err != nil {
		t.Fatal(err)
	}
	if _, err := mintOne(t, &p, seats); err == nil {
		t.Fatal("it minted")
	}
	asked := len(gh.Requests())
	if _, err := mintOne(t, &p, seats); !IsAppSpecific(err) || len(gh.Requests()) != asked {
		t.Errorf("the next mint is %v, want the same refusal without asking", err)
	}
	if err := gh.AddKey(app, &testKey.PublicKey); err != nil {
		t.Fatal(err)
	}
	gh.Advance(refusedFor)
	if _, err := mintOne(t, &p, seats); err != nil {
		t.Errorf("after a minute, with the key back, it is %v", err)
	}
}

// The pool waits for a pause of seconds, so that a workspace does not move to another
// App.
func TestAShortPauseIsNoReasonToPassOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gh, seats := poolOf(t, 2, 0)
		var p Pool
		pause := func(d time.Duration) {
			t.Helper()
			gh.Fail(fakegithub.To("GET", "/app"), fakegithub.SecondaryRateLimited(d), 1)
			seats[0].App.Once = true
			if _, err := seats[0].App.Self(t.Context()); err == nil {
				t.Fatal("there is no pause")
			}
			seats[0].App.Once = false
		}
		pause(20 * time.Second)
		if at, err := mintOne(t, &p, seats); err != nil || at != 1 {
			t.Errorf("with a choice, App %d minted: %v, want the other", at, err)
		}
		if _, err := mintOne(t, &p, seats[:1]); err != nil {
			t.Errorf("without a choice it is %v, want that it waits", err)
		}
		pause(time.Hour)
		if _, err := mintOne(t, &p, seats[:1]); !IsAppSpecific(err) {
			t.Errorf("with a long pause it is %v, want to be passed over", err)
		}
	})
}

// GitHub does not document whether mints count for the App or the installation. Both
// are handled.
func TestTheRateOfAnInstallation(t *testing.T) {
	header := func(left int, reset int64) http.Header {
		h := http.Header{}
		h.Set("X-RateLimit-Limit", "5000")
		h.Set("X-RateLimit-Remaining", strconv.Itoa(left))
		h.Set("X-RateLimit-Reset", strconv.FormatInt(reset, 10))
		return h
	}
	var app App
	left := func(installation int64) int {
		r, ok := app.RateOf(installation)
		if !ok {
			return -1
		}
		return r.Remaining
	}
	if got := left(1); got != -1 {
		t.Errorf("before any answer %d are left", got)
	}
	app.state.rate.update(call{}, header(4000, 7200))
	app.state.rate.update(call{installation: 1}, header(3999, 7200))
	app.state.rate.update(call{installation: 2}, header(3998, 7200))
	if a, b := left(1), left(2); a != 3998 || b != 3998 {
		t.Errorf("one count for the App: %d and %d are left, want 3998 of both", a, b)
	}
	app.state.rate.update(call{installation: 1}, header(4999, 7201))
	app.state.rate.update(call{installation: 2}, header(100, 7202))
	if a, b, c := left(1), left(2), left(3); a != 4999 || b != 100 || c != 100 {
		t.Errorf("one count for each installation: %d and %d are left, and %d of one that never minted", a, b, c)
	}
}

func TestTurns(t *testing.T) {
	_, seats := poolOf(t, 3, 0)
	turns := func(seats []Candidate) map[string]Candidate {
		var p Pool
		chosen := map[string]Candidate{}
		for i := range 1000 {
			key := fmt.Sprint("workspace ws-", i)
			s, done, err := p.ChooseByKey(key, seats...)
			if err != nil {
				t.Fatal(err)
			}
			done(nil)
			chosen[key] = s
		}
		return chosen
	}
	chosen := turns(seats)
	count := map[Candidate]int{}
	for _, s := range chosen {
		count[s]++
	}
	for _, s := range seats {
		if n := count[s]; n < 300 || n > 367 {
			t.Errorf("an App has %d of 1000 workspaces, want a third within 10 %%", n)
		}
	}
	reversed := slices.Clone(seats)
	slices.Reverse(reversed)
	if !maps.Equal(chosen, turns(reversed)) {
		t.Error("another replica chooses otherwise")
	}
	for key, s := range turns(seats[:2]) {
		if s != chosen[key] && chosen[key] != seats[2] {
			t.Fatalf("%s moved between Apps that stayed", key)
		}
	}
}

func TestATurnPassesOverWhatIsScarce(t *testing.T) {
	gh, seats := poolOf(t, 2, 10)
	var p Pool
	for range 9 {
		if _, err := seats[0].App.Self(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	chosen := map[Candidate]int{}
	for i := range 20 {
		s, done, err := p.ChooseByKey(fmt.Sprint(i), seats...)
		if err != nil {
			t.Fatal(err)
		}
		done(nil)
		chosen[s]++
	}
	if chosen[seats[0]] != 0 {
		t.Errorf("an App with a tenth of its requests left had %d turns", chosen[seats[0]])
	}
	gh.Advance(2 * time.Hour)
	s, done, err := p.ChooseByKey("x", seats[0])
	if err != nil || s != seats[0] {
		t.Errorf("alone, and in the next hour, it is %v", err)
	} else {
		done(nil)
	}
	if _, _, err := p.ChooseByKey("x"); !IsAppSpecific(err) {
		t.Errorf("without any App it is %v", err)
	}
}
