package fakegithub

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// mint asks for a token over REST.
func (w *world) mint(inst int64, body string) reply {
	w.t.Helper()
	return w.rest("POST", fmt.Sprintf("/app/installations/%d/access_tokens", inst), w.jwt(), body)
}

func TestMint(t *testing.T) {
	w := newWorld(t, Options{})
	w.repository(Repository{Owner: "octocat", Name: "octo"})
	w.repository(Repository{Owner: "octocat", Name: "hidden"})
	chosen, err := w.gh.AddInstallation(Installation{AppID: w.app.ID, Account: "Octocat", AccountType: User, Repositories: []string{"octo"}})
	w.must(err)
	request := loadContract(t)
	widgets := w.stored("widgets").ID
	ids := strings.TrimSuffix(strings.Repeat(fmt.Sprintf("%d,", widgets), 501), ",")
	for _, test := range []struct {
		name      string
		inst      int64
		body      string
		status    int
		want      string // selection, repositories, permissions; or the message
		selection string
	}{
		{"empty body means everything", w.inst.ID, ``, 201, "[] checks:read contents:write issues:write metadata:read", "all"},
		{"empty lists mean everything", w.inst.ID, `{"repositories":[],"repository_ids":[],"permissions":{}}`, 201, "[] checks:read contents:write issues:write metadata:read", "all"},
		{"null list", w.inst.ID, `{"repositories":null}`, 422, "Invalid request.", ""},
		{"null body", w.inst.ID, `null`, 422, "Invalid request.", ""},
		{"body is a list", w.inst.ID, `[]`, 422, "Invalid request.", ""},
		{"null permissions", w.inst.ID, `{"permissions":null}`, 422, "Invalid request.", ""},
		{"one repository", w.inst.ID, `{"repositories":["Widgets"],"permissions":{"contents":"read"}}`, 201, "[widgets] contents:read metadata:read", "selected"},
		{"twice the same", w.inst.ID, `{"repositories":["widgets","widgets"],"permissions":{"contents":"read"}}`, 201, "[widgets] contents:read metadata:read", "selected"},
		{"by ID", w.inst.ID, fmt.Sprintf(`{"repository_ids":[%d],"permissions":{"issues":"read"}}`, widgets), 201, "[widgets] issues:read metadata:read", "selected"},
		{"chosen repositories only", chosen.ID, `{"permissions":{"contents":"read"}}`, 201, "[] contents:read metadata:read", "selected"},
		{"of another owner", w.inst.ID, `{"repositories":["octo"]}`, 422, msgNoRepository, ""},
		{"with its owner", w.inst.ID, `{"repositories":["acme/widgets"]}`, 422, msgNoRepository, ""},
		{"not chosen", chosen.ID, `{"repositories":["hidden"]}`, 422, msgNoRepository, ""},
		{"unknown ID", w.inst.ID, `{"repository_ids":[1]}`, 422, msgNoRepository, ""},
		{"over 500", w.inst.ID, `{"repository_ids":[` + ids + `]}`, 422, msgTooMany, ""},
		{"permission not granted", w.inst.ID, `{"permissions":{"packages":"read"}}`, 422, msgNoPermission, ""},
		{"level above the granted", w.inst.ID, `{"permissions":{"checks":"write"}}`, 422, msgNoPermission, ""},
		{"no such level", w.inst.ID, `{"permissions":{"contents":"rw"}}`, 422, "Invalid request.\n\npermission \"contents\": level \"rw\" is not read, write or admin", ""},
		{"names and IDs", w.inst.ID, fmt.Sprintf(`{"repositories":["widgets"],"repository_ids":[%d]}`, widgets), 400, "fakegithub: repositories and repository_ids together are not documented", ""},
		{"unknown key", w.inst.ID, `{"repos":["widgets"]}`, 400, `fakegithub: json: unknown field "repos"`, ""},
		{"wrong type", w.inst.ID, `{"repository_ids":["1"]}`, 422, "Invalid request.", ""},
		{"not JSON", w.inst.ID, `{"repositories":`, 400, "Problems parsing JSON", ""},
		{"two objects", w.inst.ID, `{}{}`, 400, "Problems parsing JSON", ""},
		{"unknown installation", 1, ``, 404, "Not Found", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := w.mint(test.inst, test.body)
			if got.status != test.status {
				t.Fatalf("status = %d, want %d: %s", got.status, test.status, got.raw)
			}
			if test.status != 201 {
				if !strings.HasPrefix(got.text("message"), test.want) {
					t.Errorf("message = %q, want %q", got.text("message"), test.want)
				}
				return
			}
			if test.body != "" {
				if err := request.Validate(t, "x-access-tokens-request", []byte(test.body)); err != nil {
					t.Error(err)
				}
			}
			if shown := summary(got.body); shown != test.want || got.text("repository_selection") != test.selection {
				t.Errorf("token = %s, %s, want %s, %s", shown, got.text("repository_selection"), test.want, test.selection)
			}
		})
	}
}

// summary shows what a minted token is for.
func summary(body map[string]any) string {
	var names []string
	repos, _ := body["repositories"].([]any)
	for _, r := range repos {
		names = append(names, r.(map[string]any)["name"].(string))
	}
	out := []string{fmt.Sprint(names)}
	permissions := body["permissions"].(map[string]any)
	for _, k := range slices.Sorted(maps.Keys(permissions)) {
		out = append(out, fmt.Sprintf("%s:%s", k, permissions[k]))
	}
	return strings.Join(out, " ")
}

func TestMintRefusedWhileSuspended(t *testing.T) {
	w := newWorld(t, Options{})
	w.must(w.gh.Suspend(w.inst.ID, true))
	if got := w.mint(w.inst.ID, ""); got.status != 403 || got.text("message") != msgSuspended {
		t.Errorf("answer = %d %q, want 403 %q", got.status, got.text("message"), msgSuspended)
	}
}

func TestMintIsForTheAppsOwnInstallations(t *testing.T) {
	w := newWorld(t, Options{})
	other, err := w.gh.AddApp(App{Slug: "other", Permissions: mayRead})
	w.must(err)
	foreign, err := w.gh.AddInstallation(Installation{AppID: other.ID, Account: "acme", RepositorySelection: "all"})
	w.must(err)
	if got := w.mint(foreign.ID, ""); got.status != 404 {
		t.Errorf("status = %d, want 404", got.status)
	}
}

func TestTokenForms(t *testing.T) {
	w := newWorld(t, Options{})
	opaque := regexp.MustCompile(`\Aghs_[0-9A-Za-z]{36}\z`)
	stateless := regexp.MustCompile(fmt.Sprintf(`\Aghs_%d_[\w-]+\.[\w-]+\.[\w-]+\z`, w.app.ID))
	plain, long := w.mint(w.inst.ID, ""), w.mintStateless()
	if token := plain.text("token"); !opaque.MatchString(token) {
		t.Errorf("opaque token has %d characters, want ghs_ and 36", len(token))
	}
	if token := long.text("token"); !stateless.MatchString(token) || len(token) < 480 || len(token) > 560 {
		t.Errorf("stateless token has %d characters, want ghs_APPID_JWT of about 520", len(token))
	}
	for _, token := range []string{plain.text("token"), long.text("token")} {
		w.wantStatus(w.rest("GET", "/installation/repositories", token, ""), 200)
		w.workspace(token).git("ls-remote", w.gh.URL()+"/acme/widgets")
	}
}

func (w *world) mintStateless() reply {
	req, err := http.NewRequestWithContext(w.t.Context(), "POST", fmt.Sprintf("%s/app/installations/%d/access_tokens", w.gh.URL(), w.inst.ID), nil)
	w.must(err)
	req.Header.Set("Authorization", "Bearer "+w.jwt())
	req.Header.Set("X-GitHub-Stateless-S2S-Token", "enabled")
	return w.send(req)
}

func TestTokenLife(t *testing.T) {
	w := newWorld(t, Options{})
	got := w.mint(w.inst.ID, `{"repositories":["widgets"]}`)
	token := got.text("token")
	expires, err := time.Parse(time.RFC3339, got.text("expires_at"))
	if left := expires.Sub(w.gh.Now()); err != nil || left > time.Hour || left < 59*time.Minute {
		t.Errorf("expires_at = %q, want an hour from now", got.text("expires_at"))
	}
	live := w.gh.Tokens()
	if len(live) != 1 || live[0].Hash != Hash(token) || fmt.Sprint(live[0].Repositories) != "[acme/widgets]" {
		t.Errorf("Tokens() = %+v, want the one just minted", live)
	}
	w.wantStatus(w.rest("DELETE", "/installation/token", token, ""), 204)
	again := w.rest("DELETE", "/installation/token", token, "")
	if again.status != 401 || again.text("message") != "Bad credentials" {
		t.Errorf("second revocation = %d %q, want 401 Bad credentials", again.status, again.text("message"))
	}
	expiring := w.token(nil)
	w.gh.Advance(time.Hour)
	w.wantStatus(w.rest("GET", "/installation/repositories", expiring, ""), 401)
	if live := w.gh.Tokens(); len(live) != 0 {
		t.Errorf("Tokens() = %+v, want none", live)
	}
}

// A token never has more than its installation has now.
func TestTokenFollowsItsInstallation(t *testing.T) {
	w := newWorld(t, Options{})
	token := w.token(mayWrite)
	ws := w.workspace(token)
	ws.clone("acme/widgets")
	ws.commit("a.txt", []byte("a"))
	w.must(w.gh.SetPermissions(w.inst.ID, mayRead))
	ws.refused("denied to gatepass[bot]", "push", "origin", "HEAD:main")
	w.must(w.gh.SetRepositories(w.inst.ID, "selected", "gadgets"))
	ws.refused("Repository not found", "fetch")
	w.wantStatus(w.rest("GET", "/repos/acme/widgets", token, ""), 404)
	w.wantStatus(w.rest("GET", "/repos/acme/gadgets", token, ""), 200)
	w.must(w.gh.SetPermissions(w.inst.ID, Permissions{"contents": "write", "packages": "write"}))
	w.wantStatus(w.mint(w.inst.ID, `{"permissions":{"packages":"write"}}`), 201)
}

// The token itself is nowhere in the server's memory of what happened.
func TestRequestsHoldNoToken(t *testing.T) {
	w := newWorld(t, Options{})
	token := w.mint(w.inst.ID, "").text("token")
	w.rest("GET", "/repos/acme/widgets", token, "")
	w.workspace(token).git("ls-remote", w.gh.URL()+"/acme/widgets")
	shown := fmt.Sprintf("%+v %+v", w.gh.Requests(), w.gh.Tokens())
	if strings.Contains(shown, token) {
		t.Error("the token can be read from Requests or Tokens")
	}
	if n := w.gh.Count(func(r Request) bool { return r.Hash == Hash(token) }); n < 2 {
		t.Errorf("requests with the token's hash = %d, want 2 or more", n)
	}
	w.gh.ResetRequests()
	if n := len(w.gh.Requests()); n != 0 {
		t.Errorf("requests after ResetRequests = %d, want 0", n)
	}
}
