package workspace

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/workspace/profile"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func token(owner string, state State, hash string, left time.Duration) Token {
	t := Token{Owner: owner, State: state, Hash: hash, Installation: 1, Changed: noon.Add(-time.Minute)}
	if hash != "" {
		t.Expires = noon.Add(left)
	}
	return t
}

func TestPlan(t *testing.T) {
	const lasts, soon, past = 50 * time.Minute, 5 * time.Minute, -time.Minute
	type tokens = []Token
	for _, c := range []struct {
		name       string
		tokens     tokens
		destroying bool
		held       Held
		owners     string
		want       string
	}{
		{"a new workspace", nil, false, Held{}, "acme octo", "mint acme, mint octo"},
		{"no access", nil, false, Held{}, "", ""},
		{"all is well", tokens{token("Acme", Delivered, "h", lasts)}, false, reads("acme h"), "ACME", ""},

		{"ended before GitHub was asked", tokens{token("acme", Planned, "", 0)}, false, Held{}, "acme", "abandon acme, mint acme"},
		{"ended while GitHub was asked", tokens{token("acme", Minting, "", 0)}, false, Held{}, "acme", "abandon acme, mint acme"},
		{"ended so twice", tokens{token("acme", Minting, "", 0), token("acme", Minting, "", 0)}, false, Held{}, "acme", "abandon acme, abandon acme, mint acme"},
		{"ended before the delivery", tokens{token("acme", Minted, "h", lasts)}, false, Held{}, "acme", "abandon acme h, mint acme"},
		{"ended after the delivery", tokens{token("acme", Minted, "h", lasts)}, false, reads("acme h"), "acme", "adopt acme h"},
		{"one of two owners is done", tokens{token("acme", Delivered, "h", lasts), token("octo", Minting, "", 0)}, false, reads("acme h"), "acme octo", "abandon octo, mint octo"},

		{"it ends soon", tokens{token("acme", Delivered, "h", soon)}, false, reads("acme h"), "acme", "mint acme"},
		{"it has expired", tokens{token("acme", Delivered, "h", past)}, false, reads("acme h"), "acme", "forget acme h, mint acme"},
		{"it was deleted", tokens{token("acme", Delivered, "h", lasts)}, false, Held{}, "acme", "abandon acme h, mint acme"},
		{"somebody replaced it", tokens{token("acme", Delivered, "h", lasts)}, false, reads("acme x"), "acme", "abandon acme h, revoke acme x, mint acme"},
		{"the refresh ended before its delivery", tokens{token("acme", Delivered, "h", soon), token("acme", Minted, "n", lasts)}, false, reads("acme h"), "acme", "abandon acme n, mint acme"},
		{"the refresh ended after its delivery", tokens{token("acme", Delivered, "h", soon), token("acme", Minted, "n", lasts)}, false, reads("acme n"), "acme", "adopt acme n, abandon acme h"},
		{"an owner is wanted no more", tokens{token("acme", Delivered, "h", lasts), token("octo", Delivered, "o", lasts)}, false, reads("acme h", "octo o"), "octo", "revoke acme h"},
		{"revoked, and the store was not told", tokens{token("acme", Revoked, "h", lasts)}, false, reads("acme h"), "", "forget acme h"},
		{"a token of the first system", nil, false, reads("acme x"), "acme", "mint acme"},
		{"the only token, of the first system", nil, false, reads(" x"), "acme", "mint acme"},
		{"a token of the first system, and no other could be had", tokens{token("acme", Revoked, "", 0)}, false, reads("acme x"), "acme", "mint acme"},
		{"the only token of the first system, and another token replaced it", tokens{token("acme", Delivered, "h", lasts)}, false, reads("acme h", " x"), "acme", "revoke  x"},
		{"a token of the first system for somebody else", nil, false, reads("octo x"), "acme", "revoke octo x, mint acme"},
		{"a token of the first system, and no access", nil, false, reads(" x"), "", "revoke  x"},
		{"destroy what the first system made", nil, true, reads(" x"), "acme", "revoke  x"},

		{"superseded just now", tokens{token("acme", Superseded, "o", lasts), token("acme", Delivered, "h", lasts)}, false, reads("acme h", "- o"), "acme", ""},
		{"superseded long ago", tokens{ago(token("acme", Superseded, "o", lasts), 11*time.Minute), token("acme", Delivered, "h", lasts)}, false, reads("acme h", "- o"), "acme", "revoke acme o"},
		{"superseded, and has run out", tokens{token("acme", Superseded, "o", past), token("acme", Delivered, "h", lasts)}, false, reads("acme h", "- o"), "acme", "forget acme o"},
		{"superseded, and was for something else", tokens{granted(token("acme", Superseded, "o", lasts), "yesterday's"), token("acme", Delivered, "h", lasts)}, false, reads("acme h", "- o"), "acme", "revoke acme o"},
		{"ended before the old one was kept", tokens{token("acme", Delivered, "o", soon), token("acme", Minted, "h", lasts)}, false, reads("acme o"), "acme", "abandon acme h, mint acme"},
		{"ended after the old one was kept", tokens{token("acme", Delivered, "o", soon), token("acme", Minted, "h", lasts)}, false, reads("acme o", "- o"), "acme", "abandon acme h, mint acme"},
		{"ended after the new one was delivered", tokens{token("acme", Delivered, "o", soon), token("acme", Minted, "h", lasts)}, false, reads("acme h", "- o"), "acme", "adopt acme h, supersede acme o"},
		{"the copy of the only one is behind", tokens{token("acme", Delivered, "o", soon), token("acme", Delivered, "h", lasts)}, false, reads("acme h", " o"), "acme", "supersede acme o"},
		{"somebody put the old one back", tokens{token("acme", Superseded, "o", lasts)}, false, reads("acme o"), "acme", "adopt acme o"},
		{"kept, and unknown to the record", nil, false, reads("- x"), "", "revoke  x"},
		{"two are kept, and unknown to the record", nil, false, reads("- x", "- y"), "", "revoke  x, revoke  y"},
		{"one is read and kept, and unknown to the record", nil, false, reads("octo x", "- x"), "", "revoke octo x"},
		{"revoked, and the store still keeps it", tokens{token("acme", Revoked, "o", lasts)}, false, reads("- o"), "", "forget acme o"},
		{"an owner is wanted no more, with two tokens", tokens{token("acme", Superseded, "o", lasts), token("acme", Delivered, "h", lasts)}, false, reads("acme h", "- o"), "", "revoke acme h, revoke acme o"},
		{"the profile says something else", tokens{granted(token("acme", Delivered, "h", lasts), "yesterday's")}, false, reads("acme h"), "acme", "mint acme"},
		{"the profile says the same", tokens{granted(token("acme", Delivered, "h", lasts), "today's")}, false, reads("acme h"), "acme", ""},

		{"destroy", tokens{token("acme", Delivered, "h", lasts), token("octo", Delivered, "o", lasts)}, true, reads("acme h", "octo o"), "acme octo", "revoke acme h, revoke octo o"},
		{"destroy what is half made", tokens{token("acme", Minted, "h", lasts), token("octo", Minting, "", 0)}, true, reads("acme h"), "acme octo", "abandon octo, revoke acme h"},
		{"a broker gave it a token", nil, false, Held{Vended: []string{"v"}}, "", ""},
		{"destroy what a broker gave", nil, true, Held{Vended: []string{"v"}}, "", "revoke  v"},
		{"destroy what brokers gave", nil, true, Held{Vended: []string{"v", "w", "v"}}, "", "revoke  v, revoke  w"},
		{"destroy again", tokens{token("acme", Revoked, "h", lasts)}, true, Held{}, "acme", ""},
		{"destroy what has run out", tokens{token("acme", Delivered, "h", past)}, true, reads("acme h"), "", "forget acme h"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &Record{ID: "sb-1", Tokens: c.tokens, Destroying: c.destroying}
			w := Want{Owners: owners(c.owners), Now: noon, Margin: 15 * time.Minute, Grace: 10 * time.Minute, Adopt: true}
			if got := spell(Plan(r, c.held, w)); got != c.want {
				t.Errorf("Plan = %q, want %q", got, c.want)
			}
			if hasUnknown := slices.Contains(slices.Collect(maps.Values(c.held.Current)), "x"); hasUnknown && !c.destroying {
				return
			}
			w.Adopt = false
			if got := spell(Plan(r, c.held, w)); got != c.want {
				t.Errorf("Plan without Adopt = %q, want the same, %q", got, c.want)
			}
		})
	}
}

// Two systems that deliver to one workspace would revoke each other's tokens without
// end. A token that gatepass did not write is left alone while it lives.
func TestPlanLeavesAnotherSystemsTokens(t *testing.T) {
	const lasts, soon = 50 * time.Minute, 5 * time.Minute
	ours := token("acme", Delivered, "h", lasts)
	dead := reads(" x")
	dead.Ends = map[string]time.Time{"x": noon}
	live := reads(" x")
	live.Ends = map[string]time.Time{"x": noon.Add(time.Second)}
	for _, c := range []struct {
		name   string
		tokens []Token
		held   Held
		owners string
		want   string
	}{
		{"before gatepass gave any", nil, reads(" x"), "acme", "mint acme, leave  x"},
		{"in the owner's place", nil, reads("acme x"), "acme", "leave acme x"},
		{"the other system wrote over the copy of ours", []Token{ours}, reads("acme h", " x"), "acme", "leave  x"},
		{"so it did, and ours ends soon", []Token{token("acme", Delivered, "h", soon)}, reads("acme h", " x"), "acme", "mint acme, leave  x"},
		{"the other system wrote over ours", []Token{ours}, reads("acme x"), "acme", "abandon acme h, leave acme x"},
		{"of an owner that is not wanted", []Token{ours}, reads("acme h", "octo x"), "acme", "leave octo x"},
		{"no access", nil, reads(" x"), "", "leave  x"},
		{"it lives", []Token{ours}, Held{Current: map[string]string{"acme": "h", "": "x"}, Ends: live.Ends}, "acme", "leave  x"},
		{"it has expired", []Token{ours}, Held{Current: map[string]string{"acme": "h", "": "x"}, Ends: dead.Ends}, "acme", "revoke  x"},
		{"it has run out before gatepass gave any", nil, dead, "acme", "mint acme"},
		{"a run that adopted it was killed", nil, reads("octo x", "- x"), "acme", "revoke octo x, mint acme"},
	} {
		r := &Record{ID: "sb-1", Tokens: c.tokens}
		steps := Plan(r, c.held, Want{Owners: owners(c.owners), Now: noon, Margin: 15 * time.Minute, Grace: 10 * time.Minute})
		if got := spell(steps); got != c.want {
			t.Errorf("%s: Plan = %q, want %q", c.name, got, c.want)
		}
	}
}

func ago(t Token, d time.Duration) Token {
	t.Changed = noon.Add(-d)
	return t
}

// granted returns a token that was minted for the profile of a day.
func granted(t Token, day string) Token {
	t.Grant = day
	if day == "today's" {
		t.Grant = grantOf(profile.Access{}, t.Owner)
	}
	return t
}

// For a token that was lost, users are told how that happened.
func TestPlanSaysHowATokenWasLost(t *testing.T) {
	for _, c := range []struct {
		state State
		hash  string
		left  time.Duration
		want  string
	}{
		{Planned, "", 0, "a run ended before it asked GitHub for the token"},
		{Minting, "", 0, "a run ended while it asked GitHub for the token"},
		{Minted, "h", time.Hour, "a run ended before it was delivered"},
		{Delivered, "h", time.Hour, "it is no longer in the store"},
		{Superseded, "h", time.Hour, "it is no longer in the store"},
		{Delivered, "h", 0, "it has expired"},
		{Minted, "h", -time.Minute, "it has expired"},
	} {
		steps := Plan(&Record{Tokens: []Token{token("acme", c.state, c.hash, c.left)}}, Held{}, Want{Now: noon})
		if len(steps) != 1 || steps[0].Do != Abandon || steps[0].Why != c.want {
			t.Errorf("%s with %v left: Plan = %+v, want abandon, because %s", c.state, c.left, steps, c.want)
		}
	}
}

// A forced refresh replaces what was minted before it, once.
func TestPlanSince(t *testing.T) {
	old := token("acme", Delivered, "h", 50*time.Minute)
	old.Minted = noon.Add(-time.Second)
	want := Want{Owners: owners("acme"), Now: noon, Margin: 15 * time.Minute, Since: noon}
	if got := spell(Plan(&Record{Tokens: []Token{old}}, reads("acme h"), want)); got != "mint acme" {
		t.Errorf("Plan = %q, want mint acme", got)
	}
	old.Minted = noon
	if got := spell(Plan(&Record{Tokens: []Token{old}}, reads("acme h"), want)); got != "" {
		t.Errorf("Plan = %q, want nothing to do", got)
	}
}

// Tokens that were minted together are not replaced together, and none later
// than its margin says.
func TestPlanSpreads(t *testing.T) {
	due := map[time.Duration]int{}
	for i := range 200 {
		tok := token("acme", Delivered, fmt.Sprint("hash ", i), time.Hour)
		for left := 30 * time.Minute; ; left -= time.Minute {
			if !tok.isFresh(tok.Expires.Add(-left), 20*time.Minute) {
				due[left]++
				break
			}
		}
	}
	for left, n := range due {
		if left < 20*time.Minute || left > 25*time.Minute || n > 80 {
			t.Errorf("%d of 200 tokens are due with %s left, want them spread between 20m and 25m", n, left)
		}
	}
	if len(due) < 5 {
		t.Errorf("tokens are due at %d different minutes, want at least 5", len(due))
	}
}

// reads returns what the store holds: "OWNER HASH" for a token that a workspace reads,
// "- HASH" for one that is kept to be revoked.
func reads(texts ...string) Held {
	h := Held{Current: map[string]string{}}
	for _, text := range texts {
		if owner, hash, _ := strings.Cut(text, " "); owner == "-" {
			h.Superseded = append(h.Superseded, hash)
		} else {
			h.Current[owner] = hash
		}
	}
	return h
}

func owners(text string) []string { return strings.Fields(strings.ToLower(text)) }

func spell(steps []Step) string {
	var texts []string
	for _, s := range steps {
		texts = append(texts, strings.TrimSpace(fmt.Sprintf("%s %s %s", s.Do, s.Owner, s.Hash)))
	}
	return strings.Join(texts, ", ")
}
