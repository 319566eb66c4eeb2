package broker

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/workspace/profile"
)

// A VendLog records in the store which workspace has which token, so that any replica can
// revoke it, also after a restart. It remembers what it recorded, so that a cached token
// causes no write.
type VendLog struct {
	Store store.Store
	Now   func() time.Time // nil means time.Now

	mu       sync.Mutex               // guards the rest
	recorded map[store.Name]time.Time // when the recorded token expires
	swept    time.Time
}

func (k *VendLog) now() time.Time {
	if k.Now == nil {
		return time.Now()
	}
	return k.Now()
}

// Record records that the workspace has the token.
func (k *VendLog) Record(ctx context.Context, w Workspace, t credential.Token) error {
	name, err := store.Vended(w.ID, t.ID(), t.Expiry)
	if err != nil {
		return err
	}
	if k.has(name) {
		return nil
	}
	if err := k.write(ctx, name, w, t); err != nil {
		return &Refusal{
			Status: http.StatusServiceUnavailable, Reason: ReasonStore, RetryAfter: RetryAfter, Err: err,
			Detail: "the broker cannot write to its store; it vends a token only after it has recorded it there",
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.recorded[name] = t.Expiry
	return nil
}

// write creates the entry with one call. If another replica recorded the same token, it
// checks that entry, and repairs it if it is damaged.
func (k *VendLog) write(ctx context.Context, name store.Name, w Workspace, t credential.Token) error {
	text, err := json.Marshal(vendedOf(w, t))
	if err != nil {
		return err
	}
	value, due := store.NewSecret(string(text)), t.Expiry.Add(store.TokenGrace)
	err = store.PutDue(ctx, k.Store, name, value, store.CreateOnly, due)
	if !errors.Is(err, store.ErrExists) {
		return err
	}
	entry, err := k.Store.Get(ctx, name)
	if err == nil && ReadVended(entry).Token.Secret() == t.Secret() {
		return nil
	}
	if err != nil && !errors.Is(err, store.ErrDamaged) && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return store.PutDue(ctx, k.Store, name, value, store.Replace, due)
}

// vendedToken is the stored form. [credential.ParseToken] reads it too; the other fields are
// for operators.
type vendedToken struct {
	Token        string            `json:"token"`
	ExpiresAt    time.Time         `json:"expires_at"`
	Repositories []string          `json:"repositories,omitempty"`
	IDs          []int64           `json:"repository_ids,omitempty"`
	Permissions  map[string]string `json:"permissions,omitempty"`
	Rule         string            `json:"rule,omitempty"`
	Profile      string            `json:"profile,omitempty"`
	App          string            `json:"app,omitempty"` // client ID of the App that minted it
	Own          bool              `json:"own,omitempty"` // no other workspace shares it
}

func vendedOf(w Workspace, t credential.Token) vendedToken {
	k := vendedToken{Token: t.Secret(), ExpiresAt: t.Expiry.UTC(), Repositories: t.Repositories, IDs: t.RepositoryIDs, Permissions: t.Permissions, Rule: w.Rule, App: t.App}
	if w.Profile != nil {
		k.Profile, k.Own = w.Profile.Name, w.Profile.Sharing == profile.ShareNothing
	}
	return k
}

// A Vended is what a VendLog recorded.
type Vended struct {
	Token   credential.Token
	Rule    string // that allowed it
	Profile string
	IsOwn   bool // no other workspace shares the token
}

// ReadVended reads an entry of a VendLog. For a damaged entry only the time of writing is
// known.
func ReadVended(e store.Entry) Vended {
	text := []byte(e.Value.Reveal())
	token, err := credential.ParseToken(text, e.Modified)
	if err != nil {
		return Vended{Token: credential.NewToken(e.Value.Reveal(), e.Modified.Add(credential.Lifetime))}
	}
	var k vendedToken
	if json.Unmarshal(text, &k) == nil {
		token.Repositories, token.RepositoryIDs, token.Permissions, token.App = k.Repositories, k.IDs, k.Permissions, k.App
	}
	return Vended{Token: token, Rule: k.Rule, Profile: k.Profile, IsOwn: k.Own}
}

// IsOf reports whether the token may open a repository of the account. A token without a list
// of repositories may.
func (v Vended) IsOf(owner string) bool {
	return len(v.Token.Repositories) == 0 || slices.ContainsFunc(v.Token.Repositories, func(full string) bool {
		of, _, _ := strings.Cut(full, "/")
		return strings.EqualFold(of, owner)
	})
}

func (k *VendLog) has(name store.Name) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	if k.recorded == nil {
		k.recorded = map[store.Name]time.Time{}
	}
	if now.Sub(k.swept) >= sweepEvery {
		k.swept = now
		for n, until := range k.recorded {
			if !until.After(now) {
				delete(k.recorded, n)
			}
		}
	}
	return k.recorded[name].After(now)
}

// recorded records the token before the workspace gets it.
func recorded(log *VendLog, cache *Cache) func(context.Context, Workspace, api.TokenRequest, Scope) (Grant, error) {
	return func(ctx context.Context, w Workspace, r api.TokenRequest, s Scope) (Grant, error) {
		t, cached, err := cache.Get(ctx, w.ID, s, time.Duration(r.MinTTL)*time.Second)
		if err != nil {
			return Grant{}, err
		}
		if err := log.Record(ctx, w, t); err != nil {
			return Grant{}, err
		}
		return Grant{Token: t, Scope: s, Cached: cached}, nil
	}
}
