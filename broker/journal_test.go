package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/mint"
)

// sheet is a journal that remembers which entries were durable.
type sheet struct {
	entries []Entry
	durable []bool
}

func (s *sheet) Write(_ context.Context, e Entry, durable bool) error {
	s.entries, s.durable = append(s.entries, e), append(s.durable, durable)
	return nil
}

// Every result of a mint is on disk before a caller has the token. A token that differs
// from the request is revoked, and one that did not arrive is counted.
func TestWhatBecomesOfAMint(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	token := credential.NewToken("ghs_x", at.Add(time.Hour))
	token.RepositoryIDs = []int64{7}
	refusal := forbid(ReasonGitHub, "GitHub granted less")
	for _, c := range []struct {
		name     string
		m        mint.Minted
		err      error
		decision string
		reason   string
		hash     string
		id       int64
		unseen   int
		revoked  int
	}{
		{"a token", mint.Minted{Token: token}, nil, Granted, "", token.Hash(), 7, 0, 0},
		{"a token, and one whose answer was lost", mint.Minted{Token: token, Unconfirmed: 1}, nil, Granted, "", token.Hash(), 7, 1, 0},
		{"another token than was asked for", mint.Minted{Token: token}, refusal, Refused, ReasonGitHub, token.Hash(), 7, 0, 1},
		{"nothing", mint.Minted{}, refusal, Refused, ReasonGitHub, "", 5, 0, 0},
		{"GitHub's trouble", mint.Minted{}, &mint.Error{Kind: mint.Unavailable, Op: "mint", Err: errors.New("x"), Unconfirmed: 2}, Refused, ReasonInternal, "", 5, 2, 0},
		{"no time", mint.Minted{}, context.DeadlineExceeded, Refused, ReasonInternal, "", 5, 1, 0},
		{"the caller has gone", mint.Minted{}, context.Canceled, Refused, ReasonInternal, "", 5, 1, 0},
	} {
		journal, revoked := new(sheet), 0
		revoke := func(context.Context, credential.Token) error { revoked++; return nil }
		minting := journaled(journal, func() time.Time { return at }, revoke, func(context.Context, Scope) (mint.Minted, error) {
			if len(journal.entries) != 1 {
				t.Errorf("%s: GitHub is asked with %d lines written, want the intent", c.name, len(journal.entries))
			}
			return c.m, c.err
		})
		scope := Scope{Repo: gitname.Repo{Owner: "acme", Name: "widgets"}, Grant: mint.Grant{Repositories: mint.RepositoryIDs(5), Permissions: mint.PermissionLevels(map[string]string{"contents": "read"})}}
		if _, err := minting(t.Context(), scope); !errors.Is(err, c.err) || revoked != c.revoked {
			t.Errorf("%s: %v and %d revoked, want %v and %d", c.name, err, revoked, c.err, c.revoked)
		}
		if !slices.Equal(journal.durable, []bool{true, true}) {
			t.Errorf("%s: on the disk are %v, want both lines", c.name, journal.durable)
		}
		intent, e := journal.entries[0], journal.entries[1]
		if intent.Kind != KindIntent || intent.Decision != "" || !intent.Time.Equal(at) || intent.Repository != "acme/widgets" || intent.RepositoryID != 5 || fmt.Sprint(intent.Permissions) != "map[contents:read]" {
			t.Errorf("%s: the intent is %+v", c.name, intent)
		}
		if e.Kind != KindMinted || e.Decision != c.decision || e.Hash != c.hash || e.RepositoryID != c.id || e.Unconfirmed != c.unseen || e.Repository != "acme/widgets" {
			t.Errorf("%s: the outcome is %+v", c.name, e)
		}
		if c.reason == ReasonGitHub && (e.Reason != c.reason || e.Detail != refusal.Detail) {
			t.Errorf("%s: the reason is %q, %q, want why", c.name, e.Reason, e.Detail)
		}
	}
}

// An entry says who asked for what, and what was given.
func TestWhatARequestsLineSays(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	token := credential.NewToken("ghs_x", at.Add(time.Hour))
	token.RepositoryIDs = []int64{7}
	w := Workspace{ID: "sb-1", RequestID: "r", Rule: "ci", Caller: Caller{Method: "test", Subject: "who"}, Claims: map[string]string{"id": "who"}, Policy: &Policy{Hash: "h"}}
	ask := api.TokenRequest{Host: "github.com", Repo: gitname.Repo{Owner: "acme", Name: "widgets"}, RepositoryID: 5, Operation: "read", Permissions: map[string]string{"checks": "read"}}
	given := map[string]string{"contents": "read"}
	for _, c := range []struct {
		name string
		g    Grant
		err  error
		want string
	}{
		{"fresh", Grant{Token: token, Scope: Scope{Grant: mint.Grant{Permissions: mint.PermissionLevels(given)}}}, nil, "granted  7 map[contents:read] false"},
		{"from memory", Grant{Token: token, Scope: Scope{Grant: mint.Grant{Permissions: mint.PermissionLevels(given)}}, Cached: true}, nil, "granted  7 map[contents:read] true"},
		{"refused", Grant{}, forbid(ReasonRepository, "no"), "refused repository 5 map[checks:read] false"},
	} {
		journal := new(sheet)
		vend := audited(journal, func() time.Time { return at }, func(context.Context, Workspace, api.TokenRequest) (Grant, error) { return c.g, c.err })
		if g, err := vend(t.Context(), w, ask); !errors.Is(err, c.err) || g.Token.IsZero() != (c.err != nil) {
			t.Errorf("%s: %v, %v, want what came from below", c.name, g.Token, err)
		}
		e := journal.entries[0]
		if got := fmt.Sprint(e.Decision, " ", e.Reason, " ", e.RepositoryID, " ", e.Permissions, " ", e.Cached); got != c.want {
			t.Errorf("%s: the line says %s, want %s", c.name, got, c.want)
		}
		if e.Method != "test" || e.Subject != "who" || e.RequestID != "r" || e.Workspace != "sb-1" || e.Rule != "ci" || e.Policy != "h" || e.Host != "github.com" || e.Repository != "acme/widgets" || e.Operation != "read" || e.Claims["id"] != "who" || !e.Time.Equal(at) {
			t.Errorf("%s: the line is %+v, want who asked for what", c.name, e)
		}
	}
}

// If a workspace is refused for asking too often, one entry a second is written, and
// each refusal is counted. Entries about others are written as usual.
func TestAFloodIsCountedAndNotWrittenDown(t *testing.T) {
	journal, clock := new(paper), time.Unix(1e9, 0)
	limiter := &Limiter{Limits: func() Limits { return Limits{Rate: 1, Burst: 1} }, Now: func() time.Time { return clock }}
	vend := audited(journal, func() time.Time { return clock }, limited(limiter, func(context.Context, Workspace, api.TokenRequest) (Grant, error) { return Grant{}, nil }))
	ask := func(id string) bool {
		_, err := vend(t.Context(), Workspace{ID: id}, api.TokenRequest{})
		return err == nil
	}
	granted, refused := 0, 0
	for range 5 {
		for range 1000 {
			if ask("loud") {
				granted++
			} else {
				refused++
			}
			clock = clock.Add(time.Millisecond)
		}
		if !ask("quiet") {
			t.Error("another workspace is refused")
		}
	}
	clock = clock.Add(time.Minute)
	if !ask("loud") {
		t.Error("a workspace that waited is refused")
	}
	lines, counted := map[string]int{}, 0
	for _, e := range journal.entries {
		lines[e.Workspace+" "+e.Decision]++
		counted += e.Repeated
	}
	if lines["loud refused"] > 6 || lines["quiet granted"] != 5 || lines["loud granted"] != granted+1 {
		t.Errorf("lines are %v, want at most one refusal a second, and %d granted", lines, granted+1)
	}
	if counted+lines["loud refused"] != refused || refused < 4000 {
		t.Errorf("%d are counted and %d written down of %d refusals", counted, lines["loud refused"], refused)
	}
}

func TestRepeatsForgets(t *testing.T) {
	var r repeats
	now := time.Unix(1e9, 0)
	for i := range 1000 {
		r.written(string(rune('a'+i)), true, now)
	}
	r.written("later", true, now.Add(2*sweepEvery))
	if len(r.of) != 1 {
		t.Errorf("%d are remembered, want one", len(r.of))
	}
	if _, ok := r.written("later", true, now); !ok { // a clock that was set back
		t.Error("a refusal before the last one is not written down")
	}
}
