package doctor

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/test/fakegithub"
)

func TestNothingIsWrongWhereAllIsWell(t *testing.T) {
	w := newWorld(t)
	r := w.look()
	if bad := faults(r.All()); len(bad) > 0 {
		t.Errorf("Look of a healthy set-up finds\n%s", lines(bad))
	}
	text := lines(r.All())
	for _, want := range []string{
		"store: ok: the store file:///", "answers, and only its owner can use it", "GitHub accepts it for the App Sandbox Pass", "the clock agrees with the clock of github.test",
		"of 5000 requests are left", "the App is installed on acme, and the store has these installations", "2 workspaces: 2 ready", "there are no remains of workspaces that are gone",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("Look finds\n%s\nwant %q in it", text, want)
		}
	}
}

// Each row plants one fault, and nothing else is found.
func TestOneFault(t *testing.T) {
	const settings = "https://github.test/organizations/acme/settings/installations/11"
	for _, c := range []struct {
		name  string
		plant func(*world)
		want  string // the start of the one line
		mend  string // part of it
	}{
		{"a bad key", func(w *world) { w.put("config/github/private-key", otherKey) }, "App: failure: the App's key SHA256:", "private keys in the App's settings"},
		{"no key", func(w *world) { w.put("config/github/private-key", "x") }, "App: failure: the App cannot be opened: read config/github/private-key", "gatepass app rotate-key"},
		{"a key in a KMS that is not there", func(w *world) { w.put("config/github/signer", "file:///nowhere/key.pem") }, "App: failure: the App cannot be opened", ""},
		{"no App of that ID", func(w *world) { w.put("config/github/app-client-id", "Iv23liNobody") }, "App: failure: the App's key SHA256:", "copy the client ID"},
		{"the clock is behind", func(w *world) { w.Advance(15 * time.Minute) }, "App: failure: the clock is 15m0s behind the clock of github.test", "timedatectl"},
		{"the clock is ahead", func(w *world) { w.Advance(-15 * time.Minute) }, "App: failure: the clock is 15m0s ahead of the clock of github.test", "timedatectl"},
		{"the clock is a little off", func(w *world) { w.Advance(time.Minute) }, "App: warning: the clock is 1m0s behind", "timedatectl"},
		// GitHub is asked once, and the key is not blamed (scala-steward-org/scala-steward#2355).
		{"a secondary rate limit", func(w *world) { w.Fail(fakegithub.To("", "/app"), fakegithub.SecondaryRateLimited(-1), -1) }, "App: warning: the App's key SHA256:", "try again later"},
		// The ledger is read by GitHub's clock: no token seems to have expired.
		{"the clock is hours ahead", func(w *world) { w.ahead = 2 * time.Hour }, "App: failure: the clock is 2h0m0s ahead of the clock of github.test", "timedatectl"},
		{
			"GitHub is down",
			func(w *world) {
				w.Fail(fakegithub.To("", "/app"), fakegithub.Status(http.StatusServiceUnavailable), -1)
			},
			"App: warning: the App's key SHA256:", "try again later",
		},
		{
			"GitHub breaks off the list",
			func(w *world) { w.Fail(fakegithub.To("", "/installations"), fakegithub.Truncate(5), -1) },
			"installations: warning: where the App is installed is unknown", "try again later",
		},
		{"suspended", func(w *world) { w.must(w.Suspend(11, true)) }, "installations: failure: acme: the installation is suspended since ", "unsuspend it: " + settings},
		{"another id", func(w *world) { w.put("config/github/installations/acme", "12") }, "installations: failure: acme: the store has 12, GitHub 11", "discover --force"},
		{"no id", func(w *world) { w.put("config/github/installations/acme", "x") }, "installations: failure: acme: the store has no id, GitHub 11", "discover --force"},
		{"stale", func(w *world) { w.put("config/github/installations/globex", "7") }, "installations: warning: globex: GitHub has no installation there (no workspace needs it)", "discover --prune --force"},
		{
			"suspended, and not needed",
			func(w *world) { w.install("globex", 12); w.must(w.Suspend(12, true)) },
			"installations: warning: globex: the installation is suspended since ", "installations/12",
		},
		{
			"a permission pending approval",
			func(w *world) {
				w.must(w.SetPermissions(11, fakegithub.Permissions{"contents": "write", "issues": "write"}))
				w.must(w.SetPermissions(11, fakegithub.Permissions{"issues": "write"}))
			},
			"installations: failure: acme has not granted contents: read", settings + "/permissions/update",
		},
		{"an open folder", func(w *world) { w.must(os.Chmod(filepath.Join(w.dir, "sandbox"), 0o755)) }, "store: failure: the store file:///", "chmod go="},
		{"an open token", func(w *world) { w.must(os.Chmod(filepath.Join(w.dir, "sandbox/sb-1/github-token"), 0o640)) }, "store: failure: the store file:///", "chmod go="},
		{"an open store", func(w *world) { w.must(os.Chmod(w.dir, 0o755)) }, "store: failure: the store file:///", "chmod go="},
		{"tokens not refreshed", func(w *world) { w.ahead = 52 * time.Minute; w.Advance(w.ahead) }, "workspaces: warning: 2 workspaces should have a fresh token already, the first token expires in ", "check that gatepass-refresher runs, or run gatepass workspace refresh sb-1"},
		{"tokens run out", func(w *world) { w.ahead = time.Hour; w.Advance(w.ahead) }, "workspaces: failure: 2 workspaces had a token that expired: sb-1, sb-2", "check that gatepass-refresher runs, or run gatepass workspace refresh"},
		{"a record of the future", func(w *world) { w.put("sandbox/sb-1/workspace", `{"schema": 9}`) }, "workspaces: failure: workspace sb-1 cannot be refreshed: the ledger record has version 9", "gatepass workspace destroy sb-1"},
		{
			"a record of another",
			func(w *world) { w.put("sandbox/sb-3/workspace", w.entries()["sandbox/sb-1/workspace"]) },
			"workspaces: failure: workspace sb-3 cannot be refreshed: the ledger record belongs to workspace sb-1", "destroy sb-3",
		},
		{"a destruction that was begun", func(w *world) { w.beginDestruction("sb-1") }, "debris: warning: destroy of sb-1 was interrupted", "gatepass doctor --fix, which finishes it"},
		{
			"an unknown token",
			func(w *world) { w.put("sandbox/sb-9/github-token", w.token()) },
			"debris: warning: 1 token of sb-9 that the ledger does not have, valid until ", "--fix, which revokes and deletes it",
		},
		{"a lock that ran out", func(w *world) { w.lock("sb-1", -time.Minute) }, "debris: warning: a lock of sb-1, whose run ended early", "--fix, which removes it"},
		{"a lock without an owner", func(w *world) { w.lock("sb-9", -time.Minute) }, "debris: warning: a lock of sb-9, whose run ended early", "--fix, which removes it"},
		{
			"a replaced token that still lives",
			func(w *world) { w.supersede("sb-1"); w.ahead = 35 * time.Minute; w.Advance(w.ahead) },
			"debris: warning: 1 replaced token of sb-1 should be revoked by now", "--fix, which revokes it",
		},
	} {
		look := func(t *testing.T) {
			w := newWorld(t)
			c.plant(w)
			w.ResetRequests()
			bad := faults(w.lookAtOpen().All())
			if len(bad) != 1 || !strings.HasPrefix(wholeMinutes.Replace(line(bad[0])), c.want) || !strings.Contains(bad[0].Fix, c.mend) {
				t.Errorf("%s: Look finds\n%swant only %q with %q", c.name, lines(bad), c.want, c.mend)
			}
		}
		if strings.HasPrefix(c.name, "GitHub ") { // and is asked again and again
			synctest.Test(t, look)
		} else {
			look(t)
		}
	}
}

// wholeMinutes removes a difference of one second, because GitHub states its time in
// whole ones.
var wholeMinutes = strings.NewReplacer(" 1h59m59s", " 2h0m0s", " 2h0m1s", " 2h0m0s", " 14m59s", " 15m0s", " 15m1s", " 15m0s", " 59s behind", " 1m0s behind", " 1m1s", " 1m0s")

// lookAtOpen is like look, if the test cannot read what it made readable for others.
func (w *world) lookAtOpen() Report {
	for _, path := range []string{w.dir, filepath.Join(w.dir, "sandbox/sb-1/github-token")} {
		if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
			return w.check.Look(w.t.Context())
		}
	}
	return w.look()
}

// beginDestruction starts a destruction that GitHub keeps from finishing.
func (w *world) beginDestruction(id string) {
	w.t.Helper()
	cancel := w.Fail(fakegithub.To(http.MethodDelete, "/installation/token"), fakegithub.Status(http.StatusForbidden), -1)
	defer cancel()
	if _, err := w.issuer().Destroy(w.t.Context(), id); err == nil {
		w.t.Fatal("Destroy is done, want an error")
	}
}

func (w *world) lock(id string, left time.Duration) {
	w.put("sandbox/"+id+"/lock", `{"holder": "x", "until": "`+w.check.now().Add(left).Format(time.RFC3339)+`"}`)
}

// supersede replaces the tokens twenty minutes from now, so that they last.
func (w *world) supersede(id string) {
	w.t.Helper()
	i := w.issuer()
	i.Grace = 24 * time.Hour
	_, err := i.Refresh(w.t.Context(), id, true)
	w.must(err)
}

func TestPendingWorkspacesSayWhy(t *testing.T) {
	for _, c := range []struct {
		name, repositories string
		plant              func(*world)
		want, mend         string
	}{
		{"not installed", "globex/x", nil, "1 workspace without a token: sb-9: the App is not installed on globex", "https://github.test/apps/sandbox-pass/installations/new; then gatepass workspace refresh sb-9"},
		{"one of two", "acme/widgets, globex/x", nil, "1 workspace without a token: sb-9: the App is not installed on globex", "refresh sb-9"},
		{
			"a repository it was not given", "acme/gadgets",
			func(w *world) {
				_, err := w.AddRepository(fakegithub.Repository{Owner: "acme", Name: "gadgets"})
				w.must(err)
				w.must(w.SetRepositories(11, "selected", "widgets"))
			},
			"1 workspace without a token: sb-9: the installation cannot reach acme/gadgets", "add them to the installation",
		},
		{"a repository that is not there", "acme/nothing", nil, "1 workspace without a token: sb-9: the installation cannot reach acme/nothing", "or correct the profile"},
		{"GitHub was down", "acme/widgets", nil, "1 workspace without a token: sb-9", "gatepass workspace refresh sb-9, which says why"},
	} {
		w := newWorld(t)
		if c.plant != nil {
			c.plant(w)
		}
		cancel := w.Fail(fakegithub.To(http.MethodPost, "/access_tokens"), fakegithub.Status(http.StatusForbidden), -1)
		if err := w.create("sb-9", c.repositories); err == nil {
			t.Fatal("Create is done, want it pending")
		}
		cancel()
		w.ResetRequests()
		isFound := false
		for _, f := range faults(w.look().All()) {
			isFound = isFound || f.Level == Failure && f.Text == c.want && strings.Contains(f.Fix, c.mend)
		}
		if !isFound {
			t.Errorf("%s: Look finds\n%swant %q with %q", c.name, lines(faults(w.look().All())), c.want, c.mend)
		}
	}
}

func TestWhereNothingIsSetUp(t *testing.T) {
	w := newBareWorld(t, 0)
	all := w.look().All()
	if len(all) != 2 || line(all[1]) != "App: failure: load the GitHub App: this store has no App; run gatepass app create, or gatepass app add" {
		t.Errorf("Look finds\n%swant only what to do first", lines(all))
	}
}

func TestAStoreThatCannotBeReadIsSaidOnce(t *testing.T) {
	w := newWorld(t)
	w.must(os.RemoveAll(w.dir))
	w.must(os.WriteFile(w.dir, nil, 0o600))
	if all := w.check.Look(t.Context()).All(); len(all) != 1 || all[0].Level != Failure || all[0].Group != "store" {
		t.Errorf("Look finds\n%swant one failure of the store", lines(all))
	}
}

// In Parameter Store, only the ledger may be readable without KMS.
func TestTheKeyInParameterStore(t *testing.T) {
	w := newWorld(t)
	w.check.Folder = ""
	for isPlain, want := range map[bool]string{
		false: "store: ok: the store file://" + w.dir + " answers; \n",
		true:  "store: failure: the store file://" + w.dir + " stores unencrypted: the parameter /km/config/github/private-key; create another key in the App's settings, delete that parameter, and run gatepass app add --force",
	} {
		w.check.AWS = parameterStore{w.store, "/km", isPlain}
		if text := lines(w.look().All()); !strings.Contains(text, want) {
			t.Errorf("Look finds\n%swant %q", text, want)
		}
	}
}

func TestTheIssuingSideIsNotWaitedForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Fail(func(*http.Request) bool { return true }, fakegithub.Slow(time.Minute), -1)
		w.check.Limit = 300 * time.Millisecond
		started := time.Now()
		bad := faults(w.look().All())
		if took := time.Since(started); took > w.check.Limit {
			t.Errorf("Look took %v, want no more than its limit", took)
		}
		if len(bad) != 1 || bad[0].Level != Warning || !strings.Contains(bad[0].Text, "no answer within 300ms") || !strings.Contains(bad[0].Fix, "--timeout") {
			t.Errorf("Look finds\n%swant one warning that names the limit", lines(bad))
		}
	})
}

func TestTheLimitOfRequests(t *testing.T) {
	w := newWorldWithLimit(t, 12)
	for range 12 {
		w.check.Look(t.Context())
		for _, f := range w.check.Look(t.Context()).All() {
			if f.Level == Warning && strings.Contains(f.Text, " of 12 requests are left until ") {
				return
			}
		}
	}
	t.Error("Look never warns of the limit")
}

func TestLostTokensAreTold(t *testing.T) {
	w := newWorld(t)
	cancel := w.Fail(fakegithub.To(http.MethodPost, "/access_tokens"), fakegithub.Truncate(10), 1)
	_, err := w.issuer().Refresh(t.Context(), "sb-1", true)
	w.must(err)
	cancel()
	w.ResetRequests()
	r := w.look()
	if bad := faults(r.All()); len(bad) > 0 || !strings.Contains(lines(r.All()), "workspaces: ok: 1 token that no workspace has may be valid; the last ends by ") {
		t.Errorf("Look finds\n%swant the lost token told, and nothing wrong", lines(r.All()))
	}
}

// A run in progress is not debris, nor is its unfinished work.
func TestWhatARunWorksOnIsLeft(t *testing.T) {
	w := newWorld(t)
	w.lock("sb-1", time.Minute)
	w.lock("sb-9", time.Minute)
	w.beginDestruction("sb-2")
	w.lock("sb-2", time.Minute)
	w.put("sandbox/sb-8/github-token", w.token())
	w.lock("sb-8", time.Minute)
	w.ResetRequests()
	if r := w.look(); len(r.Leftovers) > 0 || len(faults(r.All())) > 0 {
		t.Errorf("Look finds\n%swant nothing", lines(faults(r.All())))
	}
}

// The broker handles the tokens that it has given.
func TestWhatABrokerGaveIsLeft(t *testing.T) {
	w := newWorld(t)
	w.put("sandbox/ci-7/vended/0123456789abcdef", w.token())
	w.put("sandbox/ci-8/vended/0123456789abcdef", w.token())
	w.put("sandbox/ci-8/github-token", w.token())
	if r := w.look(); len(r.Leftovers) > 0 {
		t.Errorf("Look finds\n%swant nothing", lines(faults(r.All())))
	}
}
