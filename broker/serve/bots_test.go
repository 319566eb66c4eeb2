//go:build linux

package serve

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/test/fakegithub"
)

func (w *world) beginSession() (api.GatewaySession, bool) {
	got := read(overSocket(w.path("broker.sock")).Post("http://broker"+api.SessionPath, "application/json", strings.NewReader("{}")))
	answer, err := api.DecodeGatewaySession([]byte(got.body))
	return answer, got.status == http.StatusOK && err == nil
}

// userID returns a user's id at GitHub, which it shows to everyone.
func (w *world) userID(login string) string {
	w.t.Helper()
	got := read(w.gh.Client().Get(w.gh.URL() + "/api/v3/users/" + login))
	var user struct{ ID json.Number }
	if err := json.Unmarshal([]byte(got.body), &user); err != nil || got.status != http.StatusOK {
		w.t.Fatalf("GET /users/%s: %d %s", login, got.status, got.body)
	}
	return user.ID.String()
}

// git commit is the first thing that fails in a workspace, because git knows no author
// there.
func TestASessionNamesTheAuthorOfCommits(t *testing.T) {
	users := func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/users/") }
	for name, c := range map[string]struct {
		public, numbered bool // the App, and its bot's address
		profile          string
		fault            fakegithub.Fault
		fails            bool
		want             string // # stands for the bot's id
	}{
		"a public App":                          {public: true, numbered: true, profile: profile, want: "gatepass[bot] <#+gatepass[bot]@users.noreply.127.0.0.1>"},
		"a private App, whose bot is not shown": {profile: profile, want: "gatepass[bot] <gatepass[bot]@users.noreply.127.0.0.1>"},
		"a profile that may not push":           {public: true, profile: strings.Replace(profile, "[push]", "[clone]", 1)},
		"GitHub is out of order":                {public: true, profile: profile, fault: fakegithub.Status(http.StatusBadGateway), fails: true},
		"GitHub does not answer":                {public: true, profile: profile, fault: fakegithub.Slow(time.Minute), fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.addAppAs(fakegithub.App{Slug: "gatepass", Public: c.public}, 1)
			w.write("profiles/agent.yaml", c.profile)
			w.write("broker.yaml", "gateway: {}\n"+testConfig)
			if c.fails {
				w.gh.Fail(users, c.fault, 100)
			}
			p := w.start()
			var begun time.Time
			var answer api.GatewaySession
			p.until("giving sessions", func() (ok bool) {
				begun = time.Now()
				answer, ok = w.beginSession()
				return ok
			})
			if took := time.Since(begun); took > 20*time.Second {
				t.Errorf("the session took %v, want it without an author after %v", took, authorWait)
			}
			want := c.want
			if c.numbered {
				want = strings.Replace(want, "#", w.userID("gatepass[bot]"), 1)
			}
			if answer.Author.String() != want {
				t.Errorf("the author is %q, want %q", answer.Author, want)
			}
			p.end(15)
		})
	}
}
