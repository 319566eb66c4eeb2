package workspace

import (
	"bytes"
	"context"
	"crypto/rsa"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/storetest"
	"github.com/gatepass/gatepass/workspace/profile"
)

// meddled is a store in which another program writes between two calls of a run.
type meddled struct {
	*storetest.Memory
	meddle func(n store.Name) // called before each write
}

func (m meddled) Swap(ctx context.Context, n store.Name, v store.Secret, version string, due time.Time) (string, error) {
	m.meddle(n)
	return m.Memory.Swap(ctx, n, v, version, due)
}

// rewrite writes an entry unchanged, like a run of an earlier version, which does not
// compare versions.
func (c *city) rewrite(n store.Name) {
	c.t.Helper()
	entry, err := c.store.Get(c.t.Context(), n)
	if err == nil {
		err = c.store.Put(c.t.Context(), n, entry.Value, store.Replace)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// A run that stopped for longer than its lock lasts notices at its next write that
// another run has its place. It does nothing more, and leaves no token behind.
func TestARunThatLostItsPlaceDoesNothingMore(t *testing.T) {
	for at, when := range []string{"before GitHub is asked", "before the token is written down", "before it is said to be delivered"} {
		synctest.Test(t, func(t *testing.T) {
			c := newCity(t)
			c.create("acme/widgets")
			before := c.read()
			c.Advance(41 * time.Minute)
			saves, late := 0, 0
			i := c.run(&mortal{})
			i.Store = meddled{c.store.(*storetest.Memory), func(n store.Name) {
				if saves > at+1 {
					late++
				}
				if n.IsRecord() {
					if saves++; saves == at+1 {
						c.rewrite(n)
					}
				}
			}}
			r, err := i.Refresh(t.Context(), "sb-1", false)
			if !errors.Is(err, ErrBusy) || r == nil || late > 0 {
				t.Errorf("%s: Refresh = %v and writes %d times more, want ErrBusy and nothing written", when, err, late)
			}
			c.checkAccounted(when)
			if len(c.Tokens()) != 1 || !c.isLive(before) {
				t.Errorf("%s: %d tokens are alive, want the one of before", when, len(c.Tokens()))
			}
			c.refresh(false)
			c.checkAccounted("after the next run")
			if now := c.read(); now == before || !c.isLive(now) {
				t.Errorf("%s: the next run gives no new token", when)
			}
		})
	}
}

// What another program delivers while a run asks GitHub is not overwritten.
func TestATokenThatCameMeanwhileStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCity(t)
		c.create("acme/widgets")
		c.Advance(41 * time.Minute)
		theirs, isDone := c.foreign(), false
		i := c.run(&mortal{})
		i.Store = meddled{c.store.(*storetest.Memory), func(n store.Name) {
			if n.IsToken() && !isDone {
				isDone = true
				c.putRaw("github-tokens/acme", theirs)
			}
		}}
		if _, err := i.Refresh(t.Context(), "sb-1", false); !errors.Is(err, ErrBusy) {
			t.Errorf("Refresh = %v, want ErrBusy", err)
		}
		name, err := store.Token("sb-1", "acme")
		if err != nil {
			t.Fatal(err)
		}
		if entry, err := c.store.Get(t.Context(), name); err != nil || entry.Value.Reveal() != theirs {
			t.Errorf("the token of the other system is gone: %v", err)
		}
		if n := len(c.Tokens()); n != 2 {
			t.Errorf("%d tokens are alive, want theirs and the one of before", n)
		}
		if _, err := c.run(&mortal{}).Refresh(t.Context(), "sb-1", false); !errors.Is(err, ErrForeign) {
			t.Errorf("the next run = %v, want ErrForeign", err)
		}
	})
}

// A run mints one token for an owner, however it judges the token's life: neither the
// longest margin nor a wrong clock may make every new token due.
func TestARunMintsOnceForAnOwner(t *testing.T) {
	for _, c := range []struct {
		name   string
		margin time.Duration
		ahead  time.Duration
	}{
		{"the longest margin", MaxMargin, 0},
		{"a clock three quarters of an hour ahead", 0, 45 * time.Minute},
	} {
		city := newCity(t)
		i := city.run(&mortal{})
		now := func() time.Time { return city.Now().Add(c.ahead) }
		i.Now, i.App.Now = now, now
		if _, err := i.Create(t.Context(), "sb-1", profileOf(t, "acme/widgets"), c.margin); err != nil {
			t.Fatal(err)
		}
		if n := len(city.Tokens()); n != 1 {
			t.Errorf("%s: %d tokens are alive, want one", c.name, n)
		}
	}
}

// With the longest margin the next round leaves a new token alone.
func TestTheLongestMarginLeavesNewTokensAlone(t *testing.T) {
	for k := range 50 {
		tok := token("acme", Delivered, time.Duration(k).String(), time.Hour)
		if !tok.isFresh(noon.Add(time.Minute), MaxMargin) {
			t.Fatal("a token of a minute's age is due")
		}
	}
}

// The App asks for checks, which acme has not approved yet: the workspace gets the rest
// and a notice, and gets checks with the refresh after the approval.
func TestOptionalPermissions(t *testing.T) {
	c := newCity(t)
	p, err := profile.Parse([]byte(spec("      allowedRepos: [acme/widgets]\n      permissions: [push]\n      optionalPermissions: [checks, clone]\n")))
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.run(&mortal{}).Create(t.Context(), "sb-1", p, 0)
	if err != nil {
		t.Fatal(err)
	}
	got := r.Tokens[len(r.Tokens)-1]
	if got.Permissions["contents"] != "write" || got.Permissions["checks"] != "" || !strings.Contains(got.Note, "without checks: write") {
		t.Errorf("the ledger says %+v, want a token without checks, and a note", got)
	}
	c.checkLive(1, 0)
	app, err := c.AddApp(fakegithub.App{Slug: "more", Keys: []*rsa.PublicKey{&testKey.PublicKey}, Permissions: map[string]string{"contents": "write", "checks": "write"}})
	if err != nil {
		t.Fatal(err)
	}
	c.app = app
	c.settleIn("zeta")
	p.Repositories = profileOf(t, "zeta/widgets").Repositories
	if r, err = c.run(&mortal{}).Create(t.Context(), "sb-2", p, 0); err != nil {
		t.Fatal(err)
	}
	if got := r.Tokens[0]; got.Permissions["checks"] != "write" || got.Note != "" {
		t.Errorf("the ledger says %+v, want a token with checks", got)
	}
}

// Required permissions are never left out.
func TestRequiredPermissionsAreNotDegraded(t *testing.T) {
	c := newCity(t)
	p, err := profile.Parse([]byte(spec("      allowedRepos: [acme/widgets]\n      permissions: [push, checks]\n      optionalPermissions: [comment]\n")))
	if err != nil {
		t.Fatal(err)
	}
	if r, err := c.run(&mortal{}).Create(t.Context(), "sb-1", p, 0); err == nil || !strings.Contains(err.Error(), "lacks checks: write") {
		t.Errorf("Create = %+v, %v, want it to name what is not granted", r, err)
	}
	c.checkNames("workspace")
	c.checkLive(0, 0)
}

// A workspace of an organization that was renamed keeps its tokens while the store
// knows the installation, and the record has the organization's new name. If the store
// does not, the error gives that name instead of reporting a lost installation.
func TestARenamedOrganizationIsNamed(t *testing.T) {
	c := newCity(t)
	i := c.run(&mortal{})
	i.App.Client = &http.Client{Transport: c.Transport()} // GitHub's description has no redirects
	p := profileOf(t, "octo/widgets")
	if _, err := i.Create(t.Context(), "sb-1", p, 0); err != nil {
		t.Fatal(err)
	}
	if err := c.RenameAccount("octo", "newcorp"); err != nil {
		t.Fatal(err)
	}
	r, err := i.Refresh(t.Context(), "sb-1", true)
	if err != nil || !strings.Contains(r.Tokens[len(r.Tokens)-1].Note, "octo is now called newcorp; write newcorp in the profile") {
		t.Errorf("Refresh = %+v, %v, want a token and the new name", r, err)
	}
	name, err := store.Installation("octo")
	if err == nil {
		err = c.store.Delete(t.Context(), name)
	}
	if err != nil {
		t.Fatal(err)
	}
	for id, text := range map[string]string{"sb-1": "octo/widgets", "sb-2": "octo/widgets"} { // with tokens before, and without
		r, err := i.Create(t.Context(), id, profileOf(t, text), 0)
		if id == "sb-1" {
			r, err = i.Refresh(t.Context(), id, true)
		}
		if err == nil || !strings.Contains(err.Error(), "newcorp") || strings.Contains(err.Error(), "install the App") || r.LastError == nil {
			t.Errorf("%s: %v, want the new name", id, err)
		}
	}
}

// spoiler changes GitHub's answers to requests for a token.
type spoiler struct {
	http.RoundTripper
	from, to string
}

func (s spoiler) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := s.RoundTripper.RoundTrip(r)
	if err != nil || r.Method != http.MethodPost {
		return response, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	body = bytes.ReplaceAll(body, []byte(s.from), []byte(s.to))
	response.Body, response.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return response, nil
}

// A token that must not be used and was not revoked is in the ledger, and destroying
// the workspace reports it.
func TestALivingTokenThatIsNotWantedIsInTheLedger(t *testing.T) {
	for _, c := range []struct{ name, repositories, from, to string }{
		{"wider", "acme/gadgets", `"repository_selection":"selected"`, `"repository_selection":"all"`},
		{"renamed", "acme/gadgets#%d", `"name":"gadgets"`, `"name":"novelties"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			city := newCity(t)
			repo, err := city.AddRepository(fakegithub.Repository{Owner: "acme", Name: "gadgets"})
			if err != nil {
				t.Fatal(err)
			}
			i := city.run(&mortal{})
			i.App.Client = &http.Client{Transport: spoiler{city.Transport(), c.from, c.to}}
			city.Fail(fakegithub.To(http.MethodDelete, "/installation/token"), fakegithub.Status(http.StatusForbidden), -1)
			r, err := i.Create(t.Context(), "sb-1", profileOf(t, strings.Replace(c.repositories, "%d", strconv.FormatInt(repo.ID, 10), 1)), 0)
			if err == nil || r == nil || len(r.Lost(city.Now())) != 1 || len(city.Tokens()) != 1 {
				t.Fatalf("Create = %+v, %v with %d live tokens, want one that is lost", r, err, len(city.Tokens()))
			}
			city.checkLive(0, 1)
		})
	}
}

// Tokens that an unanswered request may have made also count if the next request is
// refused.
func TestARefusalDoesNotHideWhatWasNotAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCity(t)
		c.Fail(fakegithub.To(http.MethodPost, "/access_tokens"), fakegithub.Status(http.StatusBadGateway), 1)
		r, err := c.run(&mortal{}).Create(t.Context(), "sb-1", profileOf(t, "acme/nothing"), 0)
		if err == nil || r == nil || len(r.Lost(c.Now())) != 1 {
			t.Errorf("Create = %+v, %v, want a refusal and one lost token", r, err)
		}
	})
}

// While GitHub is down for an hour, the record does not grow until no store accepts it
// any more.
func TestTheRecordStaysSmallWhileNothingIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCity(t)
		r := c.create("acme/widgets, octo/widgets")
		stop := c.Fail(fakegithub.To(http.MethodPost, "/access_tokens"), fakegithub.Status(http.StatusBadGateway), -1)
		for range 70 {
			c.Advance(time.Minute)
			r, _ = c.run(&mortal{}).Refresh(t.Context(), "sb-1", true)
		}
		data, err := r.Encode()
		if err != nil || len(data) > store.MaxValue/2 || len(r.Lost(c.Now())) < maxLost {
			t.Errorf("the record has %d bytes and names %d lost tokens, %v, want it small, and the latest of them", len(data), len(r.Lost(c.Now())), err)
		}
		stop()
		c.refresh(false)
	})
}
