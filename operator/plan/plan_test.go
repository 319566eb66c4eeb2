package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/gatepass/gatepass/operator/api/v1"
)

var now = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

const mine = "mine"

// old is a token with the wanted scope that was made so long ago.
func old(id string, age time.Duration) Held {
	return Held{ID: id, Scope: mine, Made: now.Add(-age), Expires: now.Add(time.Hour - age)}
}

// scoped is one that may do something else.
func scoped(h Held, scope string) Held { h.Scope = scope; return h }

// in is an object in good order: one token, ten minutes old, in its Secret.
func in(change ...func(*Input)) Input {
	i := Input{
		Now: now, UID: "u", Scope: mine, Target: Ref{"ns", "git"},
		RefreshInterval: 30 * time.Minute, RetryInterval: 5 * time.Minute, MinTTL: 10 * time.Minute,
		Held: []Held{old("a", 10*time.Minute)}, Secret: Secret{Ours, "a", true},
		Verdict: Permitted, Recorded: true,
	}
	for _, c := range change {
		c(&i)
	}
	return i
}

func held(all ...Held) func(*Input) { return func(i *Input) { i.Held = all } }
func secret(s State, token string) func(*Input) {
	return func(i *Input) { i.Secret = Secret{s, token, true} }
}
func broken(i *Input)    { i.Secret.Intact = false }
func none(i *Input)      { i.Held, i.Secret, i.Recorded = nil, Secret{}, false }
func gone(i *Input)      { i.Gone = true }
func suspended(i *Input) { i.Suspended = true }
func denied(i *Input) {
	i.Verdict, i.Policy = Denied, Refusal{v1.ReasonNotPermitted, "no", time.Time{}}
}

func unknown(i *Input) {
	i.Verdict, i.Policy = Unknown, Refusal{v1.ReasonFailed, "GitHub did not say whose it is", now.Add(time.Minute)}
}
func others(all ...Ref) func(*Input) { return func(i *Input) { i.Others = all } }
func failed(do Action, wait time.Duration) func(*Input) {
	return func(i *Input) { i.Failed = map[Action]Refusal{do: {v1.ReasonFailed, "GitHub is down", now.Add(wait)}} }
}
func noApp(i *Input) { i.NoMint = &Refusal{Reason: v1.ReasonAppNotFound, Message: "no App"} }
func noNamespace(i *Input) {
	i.NoWrite = &Refusal{Reason: v1.ReasonFailed, Message: "namespace ns is being deleted"}
}

func queued(i *Input) {
	i.Queued = &Refusal{Reason: v1.ReasonRateLimited, Message: "GitHub asks the App to wait until noon"}
}

func revokeAfter(d, delivered time.Duration) func(*Input) {
	return func(i *Input) { i.RevokeAfter, i.Delivered = d, now.Add(-delivered) }
}

// text is a decision's steps, as in "revoke a; mint".
func text(d Decision) string {
	var all []string
	for _, s := range d.Steps {
		t := string(s.Do)
		if s.Token != "" {
			t += " " + s.Token
		}
		if s.Do == Remove {
			t += " " + s.Secret.Namespace + "/" + s.Secret.Name
		}
		if s.Do == Mint {
			t += fmt.Sprintf(" %d", s.Urgent)
		}
		all = append(all, t)
	}
	return strings.Join(all, "; ")
}

func TestPlan(t *testing.T) {
	former := Ref{"ns", "former"}
	for _, c := range []struct {
		name  string
		in    Input
		steps string
		ready string // status and reason
	}{
		{"all is well", in(), "", "True Refreshed"},
		{"a new object", in(none), "mint 1", "Unknown Progressing"},

		// The model system minted again after every restart.
		{"after a restart the token in the Secret is kept", in(secret(Ours, "a")), "", "True Refreshed"},
		{"after a crash between mint and write the token is delivered", in(secret(Missing, "")), "deliver a", "Unknown Progressing"},

		{"the refresh interval is over", in(held(old("a", 31*time.Minute))), "mint 2", "True Refreshed"},
		{"the token ends soon", in(held(old("a", 50*time.Minute))), "mint 0", "True Refreshed"},
		{"an interval of two hours does not outlive the token", in(held(old("a", 46*time.Minute)), func(i *Input) { i.RefreshInterval = 2 * time.Hour }), "mint 0", "True Refreshed"},
		{"the token has run out", in(held(old("a", time.Hour))), "mint 1", "Unknown Progressing"},

		{"a fresh token waits while the old one works", in(held(old("b", 5*time.Second), old("a", 30*time.Minute))), "", "True Refreshed"},
		{"a fresh token replaces the old one after ten seconds", in(held(old("b", 10*time.Second), old("a", 30*time.Minute))), "deliver b", "True Refreshed"},
		{"a fresh token replaces a dead one at once", in(held(old("b", 0), old("a", time.Hour))), "deliver b", "Unknown Progressing"},
		{"a Secret broken meanwhile is mended with the old one", in(held(old("b", 0), old("a", 30*time.Minute)), broken), "deliver a", "True Refreshed"},

		// The model system left a deleted or edited Secret so until its timer.
		{"a deleted Secret is written again without a mint", in(secret(Missing, "")), "deliver a", "Unknown Progressing"},
		{"an edited Secret is mended without a mint", in(broken), "deliver a", "True Refreshed"},
		{"a Secret with an unknown token is written", in(secret(Ours, "")), "deliver a", "Unknown Progressing"},

		// The model system deleted the working Secret before it minted the next.
		{"a new name: the new Secret first", in(secret(Missing, ""), others(former)), "deliver a", "Unknown Progressing"},
		{"a new name: then the old one goes", in(others(former)), "remove ns/former", "True Refreshed"},
		{"a new name that is taken keeps the old Secret", in(secret(Foreign, ""), others(former)), "", "False SecretConflict"},

		{"another scope: a new token first", in(held(scoped(old("a", time.Minute), "wide"))), "mint 2", "True Refreshed"},
		{"another scope: the old token stays until the new one is delivered", in(held(old("b", 0), scoped(old("a", time.Minute), "wide"))), "", "True Refreshed"},
		{"another scope: then it is revoked", in(held(old("b", time.Minute), scoped(old("a", time.Minute), "wide")), secret(Ours, "b")), "revoke a", "True Refreshed"},

		{"a superseded token runs out by itself", in(held(old("b", time.Minute), old("a", 30*time.Minute)), secret(Ours, "b")), "", "True Refreshed"},
		{"a superseded token is revoked in time where that is asked", in(held(old("b", 16*time.Minute), old("a", 40*time.Minute)), secret(Ours, "b"), revokeAfter(15*time.Minute, 15*time.Minute)), "revoke a", "True Refreshed"},
		{"a superseded token is not revoked early", in(held(old("b", 16*time.Minute), old("a", 40*time.Minute)), secret(Ours, "b"), revokeAfter(15*time.Minute, 14*time.Minute)), "", "True Refreshed"},
		{"a superseded token is not revoked while the Secret still has it", in(held(old("b", 20*time.Minute), old("a", 40*time.Minute)), revokeAfter(15*time.Minute, 30*time.Minute)), "deliver b", "True Refreshed"},

		// The model system said Ready while minting failed, and nothing about a first failure.
		{"a failed first mint", in(none, failed(Mint, time.Minute)), "", "False Failed"},
		{"a failed refresh keeps the Secret and says so", in(held(old("a", 40*time.Minute)), failed(Mint, time.Minute)), "", "False Failed"},
		{"a failed mint is tried again in time", in(none, failed(Mint, 0)), "mint 1", "False Failed"},
		{"a failed write keeps the token for the next try", in(secret(Missing, ""), failed(Deliver, time.Minute)), "", "False Failed"},
		{"a write whose answer was lost has not failed", in(failed(Deliver, time.Minute)), "", "True Refreshed"},
		{"a failed write of the next token is said", in(held(old("b", time.Minute), old("a", 30*time.Minute)), failed(Deliver, time.Minute)), "", "False Failed"},
		{"a failed write is tried again in time", in(secret(Missing, ""), failed(Deliver, 0)), "deliver a", "False Failed"},

		{"a first mint that waits for its turn", in(none, queued), "mint 1", "Unknown RateLimited"},
		{"a refresh that waits for its turn", in(held(old("a", 40*time.Minute)), queued), "mint 2", "True Refreshed"},
		{"a failure comes before the turn", in(none, failed(Mint, 0), queued), "mint 1", "False Failed"},

		{"no App: no mint", in(none, noApp), "", "False AppNotFound"},
		{"no App: a deleted Secret is written again all the same", in(secret(Missing, ""), noApp), "deliver a", "False AppNotFound"},
		{"no namespace: neither mint nor write", in(none, noNamespace), "", "False Failed"},
		{"no namespace: a held token is kept", in(secret(Missing, ""), noNamespace), "", "False Failed"},
		{"somebody else's Secret: no mint", in(none, secret(Foreign, "")), "", "False SecretConflict"},

		{"a policy that narrows takes the token away", in(denied), "revoke a; remove ns/git", "False NotPermitted"},
		{"a policy that narrows takes superseded tokens, too", in(denied, held(old("b", time.Minute), old("a", 30*time.Minute))), "revoke b; revoke a; remove ns/git", "False NotPermitted"},
		{"nothing is minted without a policy", in(denied, none), "", "False NotPermitted"},
		{"somebody else's Secret is not removed", in(denied, none, secret(Foreign, "")), "", "False NotPermitted"},
		{"what no policy could be asked for is not minted", in(none, unknown), "", "False Failed"},
		{"a token in use stays while no policy can be asked", in(unknown), "", "True Refreshed"},

		{"suspended", in(suspended), "revoke a; remove ns/git", "False Suspended"},
		{"deleted", in(gone), "revoke a; remove ns/git", " "},
		{"deleted: every Secret goes", in(gone, others(former)), "revoke a; remove ns/git; remove ns/former", " "},
		{"deleted: a revocation that failed waits, the Secret goes", in(gone, failed(Revoke, time.Minute)), "remove ns/git", " "},
		{"deleted: the record goes when no token is alive", in(gone, held(old("a", time.Hour)), secret(Missing, "")), "forget", " "},
		{"deleted: an empty record goes", in(gone, held(), secret(Missing, "")), "forget", " "},
		{"deleted: nothing is left", in(gone, none), "", " "},
	} {
		d := Plan(c.in)
		if got := text(d); got != c.steps {
			t.Errorf("%s: steps = %q, want %q", c.name, got, c.steps)
		}
		if got := string(d.Ready.Status) + " " + d.Ready.Reason; got != c.ready {
			t.Errorf("%s: Ready = %s, want %s", c.name, got, c.ready)
		}
	}
}

func TestAWaitIsSaid(t *testing.T) {
	for want, i := range map[string]Input{
		"the mint of a token waits: GitHub asks the App to wait until noon":                       in(none, queued),
		"the Secret has a valid token; its refresh waits: GitHub asks the App to wait until noon": in(held(old("a", 40*time.Minute)), queued),
	} {
		if got := Plan(i).Ready.Message; got != want {
			t.Errorf("message = %q, want %q", got, want)
		}
	}
}

func TestTheZeroInputDoesNothing(t *testing.T) {
	if d := Plan(Input{}); len(d.Steps) != 0 || d.Ready.Status == True {
		t.Errorf("Plan of the zero input = %+v, want no step", d)
	}
}

func TestAgain(t *testing.T) {
	for _, c := range []struct {
		name string
		in   Input
		want time.Duration // from now; negative: never
	}{
		{"a delivery that waits for ten seconds", in(held(old("b", 4*time.Second), old("a", 30*time.Minute))), 6 * time.Second},
		// A refresh that is queued behind thousands of new tokens is asked for again when it
		// has become urgent.
		{"a refresh that may be queued", in(held(old("a", 31*time.Minute))), 14 * time.Minute},
		{"a failure", in(none, failed(Mint, 3*time.Minute)), 3 * time.Minute},
		{"a revocation", in(held(old("b", time.Minute), old("a", 20*time.Minute)), secret(Ours, "b"), revokeAfter(15*time.Minute, time.Minute)), 14 * time.Minute},
		{"a Secret of somebody else's", in(secret(Foreign, "")), 5 * time.Minute},
		{"a missing App waits for a change", in(none, noApp), -1},
		{"a denied object waits for a change", in(none, denied), -1},
	} {
		got := Plan(c.in).Again
		if c.want < 0 && !got.IsZero() || c.want >= 0 && !got.Equal(now.Add(c.want)) {
			t.Errorf("%s: again at %v, want %v from now", c.name, got, c.want)
		}
	}
}

func TestStalledMeansThatOnlyAChangeHelps(t *testing.T) {
	for name, c := range map[string]struct {
		in   Input
		want bool
	}{
		"denied": {in(denied), true}, "no App": {in(none, noApp), true},
		"a failure": {in(none, failed(Mint, time.Minute)), false}, "all well": {in(), false}, "suspended": {in(suspended), false},
	} {
		if got := Plan(c.in).Stalled; got != c.want {
			t.Errorf("%s: stalled = %v, want %v", name, got, c.want)
		}
	}
}

// A shared minute of refresh is a storm of mints.
func TestRefreshesAreSpread(t *testing.T) {
	var all []time.Duration
	for i := range 1000 {
		j := in(func(i2 *Input) { i2.UID = fmt.Sprint(i) })
		at := j.refreshAt(old("a", 0))
		if !at.Equal(j.refreshAt(old("a", 0))) {
			t.Fatal("the same token has two moments of refresh")
		}
		all = append(all, at.Sub(now))
	}
	slices.Sort(all)
	if all[0] < 27*time.Minute || all[999] > 30*time.Minute || all[900]-all[100] < 2*time.Minute {
		t.Errorf("refreshes lie between %v and %v, want them spread over the last tenth of 30m", all[0], all[999])
	}
}

// With every interval that the kinds take, minTTL is left when a token is replaced.
func TestMinTTLIsLeft(t *testing.T) {
	for _, interval := range []time.Duration{time.Minute, 30 * time.Minute, time.Hour, 48 * time.Hour} {
		for _, ttl := range []time.Duration{time.Minute, 10 * time.Minute, 50 * time.Minute} {
			h := old("a", 0)
			i := in(func(i *Input) { i.RefreshInterval, i.MinTTL = interval, ttl })
			at := i.refreshAt(h)
			if left := h.Expires.Sub(at); left < ttl {
				t.Errorf("interval %v, minTTL %v: replaced with %v left", interval, ttl, left)
			}
			if at.Sub(h.Made) > interval {
				t.Errorf("interval %v, minTTL %v: replaced after %v", interval, ttl, at.Sub(h.Made))
			}
		}
	}
}

// A Mint changes the input of the plan, so no step may follow it.
func FuzzMintIsLast(f *testing.F) {
	f.Add(uint8(0), uint8(0), int64(10), int64(40), uint8(0))
	f.Fuzz(func(t *testing.T, state, flags uint8, a, b int64, verdict uint8) {
		bound := func(m int64) time.Duration { return time.Duration(m%120) * time.Minute }
		i := in(held(old("a", bound(a)), scoped(old("b", bound(b)), []string{mine, "wide"}[flags&1])), secret(State(state%3), []string{"a", "b", ""}[state%3]))
		i.Gone, i.Suspended, i.Secret.Intact, i.Verdict = flags&2 != 0, flags&4 != 0, flags&8 != 0, Verdict(verdict%3)
		if flags&16 != 0 {
			noApp(&i)
		}
		if flags&32 != 0 {
			noNamespace(&i)
		}
		d := Plan(i)
		for n, s := range d.Steps {
			switch {
			case s.Do == Mint && n != len(d.Steps)-1:
				t.Errorf("%s: a step follows the mint", text(d))
			case s.Do == Mint && (i.Verdict != Permitted || i.Gone || i.Suspended):
				t.Errorf("%s: minted without permission", text(d))
			case s.Do == Remove && i.Secret.State == Foreign && s.Secret == i.Target:
				t.Errorf("%s: somebody else's Secret is removed", text(d))
			case s.Do == Deliver && (i.Verdict == Denied || i.Secret.State == Foreign):
				t.Errorf("%s: delivered all the same", text(d))
			}
		}
	})
}
