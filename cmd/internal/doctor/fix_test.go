package doctor

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"os"
	"path/filepath"
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
	if testing.Short() {
		t.Skip("runs git many times")
	}
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
		"ok: 2 tokens of sb-7 that the ledger does not have, valid until " + dies + " UTC at the latest: revoked 2 tokens, nothing is left of it in the store",
		"ok: destroy of sb-8 was interrupted: revoked 1 token, nothing is left of it in the store",
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
	if r := w.look(); len(r.Leftovers) > 0 {
		t.Errorf("afterwards Look finds\n%swant nothing", lines(faults(r.All())))
	}
}

// Fix keeps what was added since Look.
func TestFixLooksOnceMore(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld(t)
	w.put("sandbox/sb-7/github-token", w.token())
	w.lock("sb-8", -time.Minute)
	things := w.check.Look(t.Context()).Fixable()
	if len(things) != 2 {
		t.Fatalf("Look finds %d things to fix, want 2", len(things))
	}
	for _, id := range []string{"sb-7", "sb-8"} {
		if err := w.create(id, "acme/widgets"); !errors.Is(err, workspace.ErrForeign) { // sb-7 has another system's token
			w.must(err)
		}
	}
	before := w.entries()
	w.lock("sb-8", time.Minute)
	for _, f := range w.check.Fix(t.Context(), things) {
		if f.Level != Warning || !strings.Contains(f.Text, "is kept") {
			t.Errorf("Fix says %s, want it left", line(f))
		}
	}
	if now := w.entries(); len(now) != len(before)+1 {
		t.Errorf("Fix left %d entries of %d, want all", len(now), len(before)+1)
	}
}

func TestFixSaysWhatFailed(t *testing.T) {
	w := newWorld(t)
	token := w.token()
	w.put("sandbox/sb-7/github-token", token)
	w.Fail(fakegithub.To(http.MethodDelete, "/installation/token"), fakegithub.Status(http.StatusForbidden), -1)
	found := w.fix()
	if len(found) != 1 || found[0].Level != Failure || !strings.Contains(found[0].Text, "revoke a token: GitHub answered 403") {
		t.Errorf("Fix says\n%swant the token's failure", lines(found))
	}
	if w.entries()["sandbox/sb-7/github-token"] != token {
		t.Error("the token is revoked from the store, and cannot be revoked any more")
	}
}

// Fix does not remove what was put beside the tokens since Look.
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

// Tokens can be revoked without an App.
func TestFixWithoutAnApp(t *testing.T) {
	w := newWorld(t)
	token := w.token()
	w.put("sandbox/sb-7/github-token", token)
	w.put("config/github/private-key", otherKey)
	if found := w.fix(); len(faults(found)) > 0 || len(found) != 1 || w.isLive(token) {
		t.Errorf("Fix says\n%swant the token revoked", lines(found))
	}
}

// A live token is not debris if another system keeps its tokens there.
func TestTokensOfAnotherSystemAreLeft(t *testing.T) {
	w := newWorld(t)
	w.put("sandbox/sb-7/github-token", w.token())
	w.put("sandbox/sb-8/github-token", w.token())
	for _, c := range []struct {
		name       string
		workspaces string
		later      time.Duration
		want       string
		fixable    int
	}{
		{"its names", "", 0, "debris: ok: another system may refresh the tokens of sb-7, sb-8, which are not in the ledger; \n", 0},
		{"other names", "/km", 0, "debris: warning: 1 token of sb-7 that the ledger does not have, valid until ", 2},
		{"it stopped", "", tokenLife + time.Second, "debris: warning: 1 token of sb-7 that the ledger does not have, which has expired; gatepass doctor --fix, which revokes and deletes it\n", 2},
	} {
		w.check.AWS = parameterStore{w.store, c.workspaces, false}
		w.ahead = c.later
		w.Advance(c.later)
		r := w.look()
		if !strings.Contains(lines(r.All()), c.want) || len(r.Fixable()) != c.fixable {
			t.Errorf("%s: Look finds\n%swant %q, and %d to fix", c.name, lines(r.All()), c.want, c.fixable)
		}
	}
	things := w.check.Look(t.Context()).Fixable()
	later := time.Now().Add(time.Minute)
	w.must(os.Chtimes(filepath.Join(w.dir, "sandbox/sb-7/github-token"), later, later))
	found := w.check.Fix(t.Context(), things)
	if len(found) != 2 || found[0].Level != Warning || found[1].Level != OK || len(w.of("sb-7")) != 1 || len(w.of("sb-8")) != 0 {
		t.Errorf("Fix says\n%swant what was written again left", lines(found))
	}
}

// Fix does not remove entries that gatepass would not make.
func TestWhatIsNotGatepasssIsLeft(t *testing.T) {
	w := newWorld(t)
	w.put("sandbox/sb-7/github-token", w.token())
	w.put("sandbox/sb-7/slack-token", "x")
	w.put("sandbox/sb-8/slack-token", "x")
	r := w.look()
	bad := faults(r.All())
	if len(r.Fixable()) > 0 || len(bad) != 1 || !strings.Contains(bad[0].Text, "are other entries that gatepass did not write") || !strings.Contains(bad[0].Fix, "gatepass workspace destroy sb-7") {
		t.Errorf("Look finds\n%swant sb-7 left, with what to do", lines(bad))
	}
}
