package workspace

import (
	"fmt"
	"strings"
	"testing"
	"time"
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
		{"a new workspace", nil, false, nil, "acme octo", "mint acme, mint octo"},
		{"no access", nil, false, nil, "", ""},
		{"all is well", tokens{token("Acme", Delivered, "h", lasts)}, false, Held{"acme": "h"}, "ACME", ""},

		{"ended before GitHub was asked", tokens{token("acme", Planned, "", 0)}, false, nil, "acme", "abandon acme, mint acme"},
		{"ended while GitHub was asked", tokens{token("acme", Minting, "", 0)}, false, nil, "acme", "abandon acme, mint acme"},
		{"ended so twice", tokens{token("acme", Minting, "", 0), token("acme", Minting, "", 0)}, false, nil, "acme", "abandon acme, abandon acme, mint acme"},
		{"ended before the delivery", tokens{token("acme", Minted, "h", lasts)}, false, nil, "acme", "abandon acme h, mint acme"},
		{"ended after the delivery", tokens{token("acme", Minted, "h", lasts)}, false, Held{"acme": "h"}, "acme", "adopt acme h"},
		{"one of two owners is done", tokens{token("acme", Delivered, "h", lasts), token("octo", Minting, "", 0)}, false, Held{"acme": "h"}, "acme octo", "abandon octo, mint octo"},

		{"it ends soon", tokens{token("acme", Delivered, "h", soon)}, false, Held{"acme": "h"}, "acme", "mint acme"},
		{"it has run out", tokens{token("acme", Delivered, "h", past)}, false, Held{"acme": "h"}, "acme", "forget acme h, mint acme"},
		{"somebody deleted it", tokens{token("acme", Delivered, "h", lasts)}, false, nil, "acme", "abandon acme h, mint acme"},
		{"somebody replaced it", tokens{token("acme", Delivered, "h", lasts)}, false, Held{"acme": "x"}, "acme", "abandon acme h, revoke acme x, mint acme"},
		{"the refresh ended before its delivery", tokens{token("acme", Delivered, "h", soon), token("acme", Minted, "n", lasts)}, false, Held{"acme": "h"}, "acme", "abandon acme n, mint acme"},
		{"the refresh ended after its delivery", tokens{token("acme", Delivered, "h", soon), token("acme", Minted, "n", lasts)}, false, Held{"acme": "n"}, "acme", "adopt acme n, abandon acme h"},
		{"an owner is wanted no more", tokens{token("acme", Delivered, "h", lasts), token("octo", Delivered, "o", lasts)}, false, Held{"acme": "h", "octo": "o"}, "octo", "revoke acme h"},
		{"revoked, and the store was not told", tokens{token("acme", Revoked, "h", lasts)}, false, Held{"acme": "h"}, "", "forget acme h"},
		{"a token of the first system", nil, false, Held{"acme": "x"}, "acme", "revoke acme x, mint acme"},

		{"destroy", tokens{token("acme", Delivered, "h", lasts), token("octo", Delivered, "o", lasts)}, true, Held{"acme": "h", "octo": "o"}, "acme octo", "revoke acme h, revoke octo o"},
		{"destroy what is half made", tokens{token("acme", Minted, "h", lasts), token("octo", Minting, "", 0)}, true, Held{"acme": "h"}, "acme octo", "abandon octo, revoke acme h"},
		{"destroy again", tokens{token("acme", Revoked, "h", lasts)}, true, nil, "acme", ""},
		{"destroy what has run out", tokens{token("acme", Delivered, "h", past)}, true, Held{"acme": "h"}, "", "forget acme h"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &Record{ID: "sb-1", Tokens: c.tokens, Destroying: c.destroying}
			steps := Plan(r, c.held, Want{Owners: strings.Fields(c.owners), Now: noon, Margin: 15 * time.Minute})
			if got := spell(steps); got != c.want {
				t.Errorf("Plan = %q, want %q", got, c.want)
			}
		})
	}
}

func spell(steps []Step) string {
	var texts []string
	for _, s := range steps {
		texts = append(texts, strings.TrimSpace(fmt.Sprintf("%s %s %s", s.Do, s.Owner, s.Hash)))
	}
	return strings.Join(texts, ", ")
}
