package identity

import (
	"testing"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/test/storetest"
	"github.com/gatepass/gatepass/workspace/profile"
)

func gatewayPolicy(name, hash string) *broker.Policy {
	return &broker.Policy{Hash: name, Rules: []broker.Rule{{Name: "other"}, {Name: "agents", Hash: hash, Profile: &profile.Profile{Name: name}, Tokens: broker.TokensNone}}}
}

func TestGatewaySessions(t *testing.T) {
	now := time.Now()
	clock := func() time.Time { return now }
	g := &GatewaySessions{Keys: &Keyset{Store: new(storetest.Memory), Now: clock}, Now: clock}
	policy := gatewayPolicy("agent", "1")
	w := broker.Workspace{
		ID: "sb-1", Rule: "agents", RuleHash: "1", Policy: policy, Profile: policy.Rules[1].Profile,
		Caller: broker.Caller{Method: "oidc", Subject: "issuer x"}, Claims: map[string]string{"sub": "x"},
	}
	widgets := api.Repo{Owner: "acme", Name: "widgets"}
	text, expires, err := g.Begin(t.Context(), w, widgets)
	if err != nil || !expires.Equal(now.Add(SessionLife).Truncate(time.Second)) {
		t.Fatalf("Begin = %q, %v, %v, want one that lasts %v", text, expires, err, SessionLife)
	}
	// The profile is the one in force, not the one when the session began.
	later := gatewayPolicy("narrower", "1")
	got, repo, err := g.Open(t.Context(), text, later)
	if err != nil || repo != widgets || got.ID != "sb-1" || got.Profile != later.Rules[1].Profile || got.Policy != later || got.Tokens != broker.TokensNone || got.Caller.Subject != "issuer x" || got.Claims["sub"] != "x" || got.RuleHash != "1" {
		t.Errorf("Open = %+v, %v, %v, want the workspace by the policy in force", got, repo, err)
	}
	for name, policy := range map[string]*broker.Policy{"the rule was changed": gatewayPolicy("agent", "2"), "the rule is gone": {}} {
		if _, _, err := g.Open(t.Context(), text, policy); broker.RefusalOf(err).Status != 401 {
			t.Errorf("%s: Open = %v, want a refusal with 401", name, err)
		}
	}
	for name, text := range map[string]string{"no session": "gpg_", "another text": "ghs_x", "changed": text[:len(text)-4] + "AAAA", "another kind of session": SessionPrefix + text[4:]} {
		if _, _, err := g.Open(t.Context(), text, policy); broker.RefusalOf(err).Status != 401 {
			t.Errorf("%s: Open = %v, want a refusal with 401", name, err)
		}
	}
	now = now.Add(SessionLife)
	if _, _, err := g.Open(t.Context(), text, policy); broker.RefusalOf(err).Status != 401 {
		t.Errorf("Open of a session that has ended = %v, want a refusal with 401", err)
	}
}

// A session cannot be renewed forever: the identity must be proved again.
func TestGatewaySessionsAreRenewedForADay(t *testing.T) {
	begun := time.Now()
	now := begun
	clock := func() time.Time { return now }
	g := &GatewaySessions{Keys: &Keyset{Store: new(storetest.Memory), Now: clock}, Now: clock}
	policy := gatewayPolicy("agent", "1")
	text, expires, err := g.Begin(t.Context(), broker.Workspace{ID: "sb-1", Rule: "agents", RuleHash: "1", Policy: policy}, api.Repo{})
	for err == nil && now.Sub(begun) < 2*MaxRenewal {
		now = expires.Add(-time.Minute)
		text, expires, err = g.Renew(t.Context(), text, api.Repo{}, "")
		if err == nil && expires.Sub(now) < 2*time.Minute {
			break
		}
	}
	if last := expires.Sub(begun); err != nil || last > MaxRenewal || last < MaxRenewal-2*time.Second {
		t.Errorf("the last session ends %v after the first began (%v), want %v", last, err, MaxRenewal)
	}
}

// A session made with a renewable session cannot be renewed: only one holder can renew
// the first one, and a copy gains nothing this way.
func TestGatewaySessionsThatCannotBeRenewed(t *testing.T) {
	begun := time.Now()
	now := begun
	clock := func() time.Time { return now }
	g := &GatewaySessions{Keys: &Keyset{Store: new(storetest.Memory), Now: clock}, Now: clock}
	policy, widgets := gatewayPolicy("agent", "1"), api.Repo{Owner: "acme", Name: "widgets"}
	w := broker.Workspace{ID: "sb-1", Rule: "agents", RuleHash: "1", Policy: policy}
	wide, wideEnds, err := g.Begin(t.Context(), w, api.Repo{})
	if err != nil {
		t.Fatal(err)
	}
	w.Caller.Method = JoinMethod
	joined, joinedEnds, err := g.Begin(t.Context(), w, api.Repo{})
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(5 * time.Minute)
	narrow, _, err := g.Renew(t.Context(), wide, widgets, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, text string
		repo       api.Repo
		ends       time.Time
	}{{"one for a repository, made with a wider one", narrow, widgets, wideEnds}, {"one of a workspace with a join token", joined, api.Repo{}, joinedEnds}} {
		if _, ends, err := g.Renew(t.Context(), c.text, c.repo, "key"); err != nil || !ends.Equal(c.ends) {
			t.Errorf("%s: renewed until %v, %v, want %v as before", c.name, ends, err, c.ends)
		}
	}
}
