package doctor

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/workspace"
)

func (w *world) isLive(token string) bool {
	hash := credential.NewToken(token, time.Time{}).Hash()
	return slices.ContainsFunc(w.Tokens(), func(t fakegithub.Token) bool { return t.Hash == hash })
}

func (w *world) written(text string) time.Time {
	w.t.Helper()
	name, err := store.ParseName(text)
	w.must(err)
	e, err := w.store.Get(w.t.Context(), name)
	w.must(err)
	return e.Modified
}

// fix removes what is found, and checks that nothing is minted.
func (w *world) fix() []Finding {
	w.t.Helper()
	things := w.check.Look(w.t.Context()).Fixable()
	w.ResetRequests()
	found := w.check.Fix(w.t.Context(), things)
	if n := w.Count(func(r fakegithub.Request) bool { return r.Method == http.MethodPost }); n > 0 {
		w.t.Errorf("Fix asked GitHub for %d tokens, want none", n)
	}
	w.ResetRequests()
	return found
}

func TestFixRemovesWhatLiesAround(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld(t)
	forgotten, replaced := w.token(), w.token()
	w.put("sandbox/sb-7/github-token", forgotten)
	w.put("sandbox/sb-7/github-tokens/acme", forgotten)
	sum := sha256.Sum256([]byte(replaced))
	w.put("sandbox/sb-7/superseded/"+hex.EncodeToString(sum[:8]), replaced)
	w.must(w.create("sb-8", "acme/widgets"))
	w.beginDestruction("sb-8")
	w.lock("sb-8", -time.Minute)
	w.supersede("sb-1")
	w.lock("sb-2", -time.Minute)
	w.lock("sb-9", -time.Minute)
	w.ahead = 35 * time.Minute
	w.Advance(w.ahead)
	dies := w.written("sandbox/sb-7/superseded/" + hex.EncodeToString(sum[:8])).Add(tokenLife).UTC().Format("15:04")
	kept := append(w.of("sb-1"), "sb-2")

	found := w.fix()
	var texts []string
	for _, f := range found {
		texts = append(texts, string(f.Level)+": "+f.Text)
	}
	want := []string{
		"ok: 2 tokens of sb-7, of which the ledger knows nothing, alive until " + dies + " UTC at the latest: revoked 2 tokens, nothing is left of it in the store",
		"ok: the destruction of sb-8 was begun and not finished: revoked 1 token, nothing is left of it in the store",
		"ok: 1 replaced token of sb-1 should be revoked by now: revoked 1 token",
		"ok: a lock of sb-2, whose run ended early: removed",
		"ok: a lock of sb-9, whose run ended early: removed",
	}
	if !slices.Equal(texts, want) {
		t.Errorf("Fix says\n%s\nwant\n%s", strings.Join(texts, "\n"), strings.Join(want, "\n"))
	}
	if w.isLive(forgotten) || w.isLive(replaced) || len(w.Tokens()) != 2 {
		t.Errorf("%d tokens are alive, want those of sb-1 and sb-2 only", len(w.Tokens()))
	}
	for _, id := range []string{"sb-7", "sb-8", "sb-9"} {
		if left := w.of(id); len(left) > 0 {
			t.Errorf("the store has %q of %s, want nothing", left, id)
		}
	}
	if now := w.of("sb-1"); len(now) != 3 || slices.Contains(w.of("sb-2"), "lock") || len(w.of("sb-2")) != 3 {
		t.Errorf("the store has %q of sb-1 and %q of sb-2, want their tokens and records; before it had %q", now, w.of("sb-2"), kept)
	}
	if r := w.look(); len(r.Debris) > 0 {
		t.Errorf("afterwards Look finds\n%swant nothing", lines(faults(r.All())))
	}
}

// Whoever came in between keeps what is his.
func TestFixLooksOnceMore(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld(t)
	w.put("sandbox/sb-7/github-token", w.token())
	w.lock("sb-8", -time.Minute)
	clouds := &sky{keys: []Key{{Workspace: "sb-6", Name: "alias/x-sb-6", ID: "1"}}, schedules: []Schedule{{Workspace: "sb-6", Name: "s", Group: "g"}}}
	w.check.Cloud = clouds
	w.ahead = freshToken
	w.Advance(w.ahead)
	things := w.check.Look(t.Context()).Fixable()
	if len(things) != 4 {
		t.Fatalf("Look finds %d things to fix, want 4", len(things))
	}
	for _, id := range []string{"sb-6", "sb-7", "sb-8"} {
		if err := w.create(id, "acme/widgets"); !errors.Is(err, workspace.ErrForeign) { // sb-7 has another's token
			w.must(err)
		}
	}
	before := w.entries()
	w.lock("sb-8", time.Minute)
	for _, f := range w.check.Fix(t.Context(), things) {
		if f.Level != Warning || !strings.Contains(f.Text, ", is left: ") {
			t.Errorf("Fix says %s, want it left", line(f))
		}
	}
	if now := w.entries(); len(now) != len(before)+1 || len(clouds.keys) != 1 || len(clouds.schedules) != 1 {
		t.Errorf("Fix left %d entries of %d, %d keys and %d schedules, want all", len(now), len(before)+1, len(clouds.keys), len(clouds.schedules))
	}
}

func TestFixSaysWhatFailed(t *testing.T) {
	w := newWorld(t)
	token := w.token()
	w.put("sandbox/sb-7/github-token", token)
	w.Fail(fakegithub.To(http.MethodDelete, "/installation/token"), fakegithub.Status(http.StatusForbidden), -1)
	found := w.fix()
	if len(found) != 1 || found[0].Level != Failure || !strings.Contains(found[0].Text, "revoke a token: GitHub answers 403") {
		t.Errorf("Fix says\n%swant the token's failure", lines(found))
	}
	if w.entries()["sandbox/sb-7/github-token"] != token {
		t.Error("the token is gone from the store, and nobody can revoke it any more")
	}
}

// Nor does it remove what others have put beside the tokens since.
func TestFixLooksOnceMoreAtWhatIsForgotten(t *testing.T) {
	w := newWorld(t)
	for _, later := range []string{"slack-token", "vended/0123456789abcdef"} {
		w.put("sandbox/sb-7/github-token", w.token())
		things := w.check.Look(t.Context()).Fixable()
		w.put("sandbox/sb-7/"+later, "x")
		found := w.check.Fix(t.Context(), things)
		if len(found) != 1 || found[0].Level != Warning || len(w.of("sb-7")) != 2 {
			t.Errorf("with %s, Fix says\n%sand leaves %q, want all left", later, lines(found), w.of("sb-7"))
		}
		name, err := store.ParseName("sandbox/sb-7/" + later)
		w.must(err)
		w.must(w.store.Delete(t.Context(), name))
	}
}

// Without an App tokens can be revoked all the same.
func TestFixWithoutAnApp(t *testing.T) {
	w := newWorld(t)
	token := w.token()
	w.put("sandbox/sb-7/github-token", token)
	w.put("config/github/private-key", otherKey)
	if found := w.fix(); len(faults(found)) > 0 || len(found) != 1 || w.isLive(token) {
		t.Errorf("Fix says\n%swant the token revoked", lines(found))
	}
}

func TestFixOfWhatIsInACloud(t *testing.T) {
	w := newWorld(t)
	long := time.Now().Add(-24 * time.Hour)
	clouds := &sky{
		keys: []Key{
			{Workspace: "sb-1", Name: "alias/x-sb-1", ID: "1"},
			{Workspace: "sb-7", Name: "alias/x-sb-7", ID: "7"},
			{Workspace: "app", Name: "alias/x-app", ID: "8"},
			{Workspace: "sb-6", Name: "alias/x-sb-6", ID: "6"},
		},
		verdicts: map[string]Verdict{"alias/x-app": {Foreign: true}, "alias/x-sb-6": {Left: "it was used today"}},
		schedules: []Schedule{
			{Workspace: "sb-1", Group: "g", Name: "a", IsEnabled: true, Changed: long},
			{Workspace: "sb-7", Group: "g", Name: "b", IsEnabled: true, Changed: long},
			{Workspace: "sb-5", Group: "g", Name: "c", Changed: time.Now()},
		},
	}
	w.check.Cloud = clouds
	r := w.look()
	var texts []string
	for _, f := range r.All() {
		if f.Group == debrisGroup {
			texts = append(texts, line(f))
		}
	}
	want := []string{
		"debris: warning: workspace sb-1 is in the ledger, and the schedule g/a of another system writes its token too; aws scheduler delete-schedule --group-name g --name a",
		"debris: ok: the schedule g/c of another system, for sb-5, which is gone; it is left: it was changed less than an hour ago; ",
		"debris: warning: the schedule g/b of another system, for sb-7, which is gone; gatepass doctor --fix, which deletes it",
		"debris: ok: the KMS key alias/x-sb-6, of sb-6, which is gone; it is left: it was used today; ",
		"debris: warning: the KMS key alias/x-sb-7, of sb-7, which is gone; gatepass doctor --fix, which removes the alias, and has the key deleted in 30 days",
	}
	if !slices.Equal(texts, want) {
		t.Errorf("Look finds\n%s\nwant\n%s", strings.Join(texts, "\n"), strings.Join(want, "\n"))
	}
	if found := w.fix(); len(found) != 2 || len(faults(found)) > 0 {
		t.Errorf("Fix says\n%swant two things done", lines(found))
	}
	if len(clouds.keys) != 3 || len(clouds.schedules) != 2 || slices.ContainsFunc(clouds.keys, func(k Key) bool { return k.ID == "7" }) {
		t.Errorf("there are %v and %v, want all but those of sb-7", clouds.keys, clouds.schedules)
	}
}

// A sandbox of another system is no debris while that system refreshes it, or
// while nobody can tell.
func TestSandboxesOfAnotherSystemAreLeft(t *testing.T) {
	w := newWorld(t)
	w.put("sandbox/sb-7/github-token", w.token())
	w.ahead = freshToken + time.Second
	w.Advance(w.ahead)
	long := time.Now().Add(-24 * time.Hour)
	for _, c := range []struct {
		name  string
		cloud *sky
		want  string
		isOut bool // it may be fixed
	}{
		{"refreshed", &sky{schedules: []Schedule{{Workspace: "sb-7", Name: "s", IsEnabled: true, Changed: long}}}, "ok: another system refreshes the tokens of sb-7", false},
		{"not any more", &sky{schedules: []Schedule{{Workspace: "sb-7", Name: "s", Changed: long}}}, "warning: 1 token of sb-7, of which the ledger knows nothing", true},
		{"nobody can tell", &sky{err: errors.New("list schedules: access denied; allow it")}, "whether another system refreshes it is not known", false},
		{"there is no other", &sky{}, "warning: 1 token of sb-7, of which the ledger knows nothing", true},
	} {
		w.check.Cloud = c.cloud
		r := w.look()
		if !strings.Contains(lines(r.All()), c.want) || (len(r.Fixable()) == 1) != c.isOut {
			t.Errorf("%s: Look finds\n%swant %q, and %v that it may go", c.name, lines(r.All()), c.want, c.isOut)
		}
	}
}

// A token that was just written may be of a sandbox that another system is making.
func TestAFreshTokenBesideAnotherSystemIsLeft(t *testing.T) {
	w := newWorld(t)
	w.put("sandbox/sb-7/github-token", w.token())
	w.check.Cloud = &sky{}
	if r := w.look(); len(r.Debris) != 1 || len(r.Fixable()) != 0 {
		t.Errorf("Look finds\n%swant it left", lines(r.All()))
	}
}

// What gatepass would not have made is not for it to remove.
func TestWhatIsNotGatepasssIsLeft(t *testing.T) {
	w := newWorld(t)
	w.put("sandbox/sb-7/github-token", w.token())
	w.put("sandbox/sb-7/slack-token", "x")
	w.put("sandbox/sb-8/slack-token", "x")
	r := w.look()
	bad := faults(r.All())
	if len(r.Fixable()) > 0 || len(bad) != 1 || !strings.Contains(bad[0].Text, "not gatepass's") || !strings.Contains(bad[0].Mend, "gatepass workspace destroy sb-7") {
		t.Errorf("Look finds\n%swant sb-7 left, with what to do", lines(bad))
	}
}
