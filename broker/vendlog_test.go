package broker

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/storetest"
)

// writes counts writes to a store, which may be down.
type writes struct {
	store.Store
	times int
	err   error
}

func (w *writes) Put(ctx context.Context, n store.Name, v store.Secret, mode store.Mode) error {
	if w.err != nil {
		return w.err
	}
	w.times++
	return w.Store.Put(ctx, n, v, mode)
}

func TestWhatIsGivenIsWrittenDownOnce(t *testing.T) {
	clock := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	in := &writes{Store: new(storetest.Memory)}
	k := &VendLog{Store: in, Now: func() time.Time { return clock }}
	keep := func(workspace, secret string) error {
		return k.Record(t.Context(), Workspace{ID: workspace}, credential.NewToken(secret, clock.Add(time.Hour)))
	}
	for _, c := range []struct {
		workspace, secret string
		want              int
	}{{"sb-1", "a", 1}, {"sb-1", "a", 1}, {"sb-1", "b", 2}, {"sb-2", "a", 3}, {"sb-1", "a", 3}} {
		if err := keep(c.workspace, c.secret); err != nil || in.times != c.want {
			t.Errorf("%s with %s: Keep = %v after %d writes, want %d", c.workspace, c.secret, err, in.times, c.want)
		}
	}
	clock = clock.Add(time.Hour)
	if err := keep("sb-1", "c"); err != nil || len(k.recorded) != 1 {
		t.Errorf("Keep = %v and %d are remembered, want the one that lives", err, len(k.recorded))
	}
	in.err = errors.New("away")
	err := keep("sb-1", "d")
	if r, ok := errors.AsType[*Refusal](err); !ok || r.Status != http.StatusServiceUnavailable || r.RetryAfter == 0 {
		t.Errorf("Keep = %v, want 503 and when to come back", err)
	}
	if err := keep("sb-1", "d"); err == nil {
		t.Error("Keep = nil for what was not written down before, either")
	}
	cache := &Cache{Now: k.Now, Mint: (&presses{}).mint}
	if g, err := recorded(k, cache)(t.Context(), Workspace{ID: "sb-1"}, api.TokenRequest{}, widgets); err == nil || !g.Token.IsZero() {
		t.Errorf("Kept = %v, %v, want nothing that was not written down", g.Token, err)
	}
}

// calls remembers the calls of a store, and answers the first Get with an error.
type calls struct {
	store.Store
	made   []string
	getErr error
}

func (c *calls) Put(ctx context.Context, n store.Name, v store.Secret, mode store.Mode) error {
	c.made = append(c.made, []string{"create", "replace"}[mode])
	return c.Store.Put(ctx, n, v, mode)
}

func (c *calls) Get(ctx context.Context, n store.Name) (store.Entry, error) {
	c.made = append(c.made, "get")
	if err := c.getErr; err != nil {
		c.getErr = nil
		return store.Entry{}, err
	}
	return c.Store.Get(ctx, n)
}

// A given token is recorded with one call, because the workspace waits for it. If
// another replica has recorded it, the entry is read.
func TestCallsOfKeep(t *testing.T) {
	ends := time.Now().Add(time.Hour)
	token := credential.NewToken("ghs_x", ends)
	for _, c := range []struct {
		name   string
		before string // the entry; "" means none
		getErr error
		want   []string
		fails  bool
	}{
		{"a token that no replica gave", "", nil, []string{"create"}, false},
		{"one that another replica gave", `{"token":"ghs_x"}`, nil, []string{"create", "get"}, false},
		{"an entry that is another token's", `{"token":"ghs_y"}`, nil, []string{"create", "get", "replace"}, false},
		{"an entry that is damaged", "x", store.ErrDamaged, []string{"create", "get", "replace"}, false},
		{"one that is deleted meanwhile", "x", store.ErrNotFound, []string{"create", "get", "replace"}, false},
		{"a store that is away", "x", errors.New("away"), []string{"create", "get"}, true},
	} {
		in := &calls{Store: new(storetest.Memory), getErr: c.getErr}
		name, err := store.Vended("sb-1", token.ID(), ends)
		if err == nil && c.before != "" {
			err = in.Store.Put(t.Context(), name, store.NewSecret(c.before), store.CreateOnly)
		}
		if err != nil {
			t.Fatal(err)
		}
		err = (&VendLog{Store: in}).Record(t.Context(), Workspace{ID: "sb-1"}, token)
		if (err != nil) != c.fails || !slices.Equal(in.made, c.want) {
			t.Errorf("%s: Keep = %v with the calls %q, want %q", c.name, err, in.made, c.want)
		}
		if entry, err := in.Store.Get(t.Context(), name); !c.fails && (err != nil || ReadVended(entry).Token.Secret() != "ghs_x") {
			t.Errorf("%s: the entry is of %v, %v, want the token", c.name, ReadVended(entry).Token, err)
		}
	}
}

// A recorded token is read again, and says whose it is. A damaged entry may be
// anyone's, for as long as a token lives.
func TestWhatWasGivenIsReadAgain(t *testing.T) {
	in, clock := new(storetest.Memory), time.Now().UTC().Truncate(time.Second)
	token := credential.NewToken("ghs_x", clock.Add(time.Hour))
	token.Repositories, token.RepositoryIDs, token.Permissions = []string{"Acme/widgets"}, []int64{7}, map[string]string{"contents": "read"}
	if err := (&VendLog{Store: in}).Record(t.Context(), Workspace{ID: "sb-1", Rule: "ci"}, token); err != nil {
		t.Fatal(err)
	}
	name, err := store.Vended("sb-1", token.ID(), token.Expiry)
	if err != nil {
		t.Fatal(err)
	}
	entry, err := in.Get(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	v := ReadVended(entry)
	if v.Token.Secret() != "ghs_x" || !v.Token.Expiry.Equal(token.Expiry) || v.Rule != "ci" || !slices.Equal(v.Token.RepositoryIDs, token.RepositoryIDs) || v.Token.Permissions["contents"] != "read" {
		t.Errorf("ReadVended = %+v, want what was kept", v)
	}
	if !v.IsOf("acme") || v.IsOf("octo") || v.IsOf("acme/widgets") {
		t.Errorf("IsOf: acme %v, octo %v, want acme's alone", v.IsOf("acme"), v.IsOf("octo"))
	}
	odd := ReadVended(store.Entry{Value: store.NewSecret("two words"), Modified: clock})
	if odd.Token.Secret() != "two words" || !odd.Token.Expiry.Equal(clock.Add(credential.Lifetime)) || !odd.IsOf("acme") || !odd.IsOf("octo") {
		t.Errorf("ReadVended = %+v, want what may be a token of anybody, for an hour", odd)
	}
}
