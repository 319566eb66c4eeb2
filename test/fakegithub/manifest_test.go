package fakegithub

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	goodManifest = `{"name":"Sandbox Pass","url":"https://acme.test","redirect_url":"http://127.0.0.1:9/x/callback?a=b","public":false,"default_permissions":{"contents":"write"}}`
	goodState    = "0123456789abcdef"
)

// submit sends the form of a page, as a browser would.
func (w *world) submit(path string, form url.Values) reply {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.gh.URL()+path, strings.NewReader(form.Encode()))
	w.must(err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return w.send(req)
}

var hidden = regexp.MustCompile(`name="authenticity_token" value="([^"]*)"`)

// askFor submits a manifest and returns the token of the page that asks back.
func (w *world) askFor(settings, manifest string) string {
	w.t.Helper()
	page := w.submit(settings+"/new?state="+goodState, url.Values{"manifest": {manifest}})
	w.wantStatus(page, http.StatusOK)
	found := hidden.FindSubmatch(page.raw)
	if found == nil {
		w.t.Fatalf("the page has no form:\n%s", page.raw)
	}
	return string(found[1])
}

// create clicks on the button, and returns the code.
func (w *world) create(settings, name string) string {
	w.t.Helper()
	token := w.askFor(settings, goodManifest)
	done := w.submit(settings, url.Values{"authenticity_token": {token}, "name": {name}})
	w.wantStatus(done, http.StatusFound)
	to, err := url.Parse(done.header.Get("Location"))
	w.must(err)
	if to.Host != "127.0.0.1:9" || to.Path != "/x/callback" || to.Query().Get("state") != goodState || to.Query().Get("a") != "b" {
		w.t.Fatalf("redirected to %s, want the manifest's URL with the state", to)
	}
	return to.Query().Get("code")
}

func TestManifestMakesAnApp(t *testing.T) {
	w := newWorld(t, Options{})
	w.must(w.gh.SignIn("octocat", "acme"))
	for settings, owner := range map[string]string{"/settings/apps": "octocat", "/organizations/Acme/settings/apps": "acme"} {
		code := w.create(settings, "Pass of "+owner)
		got := w.rest("POST", "/api/v3/app-manifests/"+code+"/conversions", "", "")
		w.wantStatus(got, http.StatusCreated)
		if err := loadContract(t).Validate(t, "x-app-manifest-conversion", got.raw); err != nil {
			t.Error(err)
		}
		if got.text("slug") != "pass-of-"+owner || got.text("external_url") != "https://acme.test" || !strings.Contains(got.text("pem"), "RSA PRIVATE KEY") {
			t.Errorf("conversion = %s, want the App of %s with its key", got.raw, owner)
		}
		if again := w.rest("POST", "/app-manifests/"+code+"/conversions", "", ""); again.status != http.StatusNotFound {
			t.Errorf("the code was good for a second conversion: %d", again.status)
		}
	}
	apps := w.gh.Apps()
	if last := apps[len(apps)-1]; len(apps) != 3 || last.Public || !maps.Equal(last.Permissions, Permissions{"contents": "write", "metadata": "read"}) {
		t.Errorf("Apps = %+v, want two more, private, with what was asked", apps)
	}
}

func TestCodeIsGoodForAnHour(t *testing.T) {
	w := newWorld(t, Options{})
	w.must(w.gh.SignIn("octocat"))
	late, inTime := w.create("/settings/apps", "late"), w.create("/settings/apps", "in time")
	w.gh.Advance(59 * time.Minute)
	w.wantStatus(w.rest("POST", "/app-manifests/"+inTime+"/conversions", "", ""), http.StatusCreated)
	w.gh.Advance(2 * time.Minute)
	w.wantStatus(w.rest("POST", "/app-manifests/"+late+"/conversions", "", ""), http.StatusNotFound)
	w.wantStatus(w.rest("POST", "/app-manifests/"+strings.Repeat("0", 40)+"/conversions", "", ""), http.StatusNotFound)
}

func TestManifestIsRefused(t *testing.T) {
	w := newWorld(t, Options{})
	w.must(w.gh.SignIn("octocat", "acme"))
	edit := func(old, new string) url.Values {
		return url.Values{"manifest": {strings.Replace(goodManifest, old, new, 1)}}
	}
	const at = "/settings/apps/new?state=" + goodState
	for _, c := range []struct {
		name, path string
		form       url.Values
		status     int
		says       string
	}{
		{"no state", "/settings/apps/new", edit("", ""), 400, "needs a state"},
		{"a state that is guessed", "/settings/apps/new?state=1", edit("", ""), 400, "needs a state"},
		{"no manifest", at, url.Values{"manifests": {goodManifest}}, 400, "one manifest"},
		{"another field", at, url.Values{"manifest": {goodManifest}, "x": {""}}, 400, "want a form"},
		{"no JSON", at, url.Values{"manifest": {"name: x"}}, 422, "not a JSON object"},
		{"two of them", at, url.Values{"manifest": {goodManifest + "{}"}}, 422, "something follows"},
		{"an unknown key", at, edit(`"url"`, `"homepage":"x","url"`), 422, "unknown field"},
		{"no homepage", at, edit(`"url":"https://acme.test",`, ""), 422, `&#34;url&#34; wasn&#39;t supplied`},
		{"a hook without an address", at, edit(`"url"`, `"hook_attributes":{"active":false},"url"`), 422, `&#34;url&#34; wasn&#39;t supplied`},
		{"a homepage elsewhere", at, edit("https://acme", "javascript://acme"), 422, "valid URL"},
		{"nowhere to redirect to", at, edit(`"redirect_url":"http://127.0.0.1:9/x/callback?a=b",`, ""), 422, "no program gets the code"},
		{"neither public nor private", at, edit(`"public":false,`, ""), 422, "public is neither"},
		{"no permissions", at, edit(`"contents":"write"`, ""), 422, "no permissions"},
		{"an unknown permission", at, edit(`"contents"`, `"content"`), 422, "not included in the list (content: write)"},
		{"an unknown level", at, edit(`"write"`, `"all"`), 422, "not included in the list (contents: all)"},
		{"a level it has not", at, edit(`"contents":"write"`, `"workflows":"read"`), 422, "workflows: read"},
		{"events without a hook", at, edit(`"url"`, `"default_events":["push"],"url"`), 422, "without a webhook"},
		{"another's organization", "/organizations/globex/settings/apps/new?state=" + goodState, edit("", ""), 404, "not found"},
	} {
		got := w.submit(c.path, c.form)
		if got.status != c.status || !strings.Contains(string(got.raw), c.says) || hidden.Match(got.raw) {
			t.Errorf("%s: %d %s\nwant %d, %q and no form", c.name, got.status, got.raw, c.status, c.says)
		}
	}
}

func TestNamesOfAppsAreTheirOwn(t *testing.T) {
	w := newWorld(t, Options{})
	w.must(w.gh.SignIn("octocat", "acme"))
	const settings = "/organizations/acme/settings/apps"
	token := w.askFor(settings, goodManifest)
	for name, says := range map[string]string{
		"": "be blank", strings.Repeat("n", 35): "too long", "GATEPASS": "taken", "octocat": "taken", "---": "alphanumeric", `"><script>`: "",
	} {
		got := w.submit(settings, url.Values{"authenticity_token": {token}, "name": {name}})
		if says == "" {
			token = w.askFor(settings, goodManifest)
		}
		if want := http.StatusUnprocessableEntity; says != "" && (got.status != want || !strings.Contains(string(got.raw), says)) || says == "" && got.status != http.StatusFound {
			t.Errorf("name %q: %d %s, want %q", name, got.status, got.raw, says)
		}
	}
	got := w.submit(settings, url.Values{"authenticity_token": {token}, "name": {"acme"}})
	w.wantStatus(got, http.StatusFound) // one's own account name may be used
	got = w.submit(settings, url.Values{"authenticity_token": {token}, "name": {"acme2"}})
	w.wantStatus(got, http.StatusUnprocessableEntity) // the form was used
	w.must(w.gh.SignIn("mallory"))
	stolen := w.submit("/settings/apps", url.Values{"authenticity_token": {token}, "name": {"acme3"}})
	w.wantStatus(stolen, http.StatusUnprocessableEntity)
}

func TestNoUserIsSignedIn(t *testing.T) {
	w := newWorld(t, Options{})
	got := w.submit("/settings/apps/new?state="+goodState, url.Values{"manifest": {goodManifest}})
	w.wantStatus(got, http.StatusFound)
	if to := got.header.Get("Location"); !strings.HasPrefix(to, w.gh.URL()+"/login?return_to=") {
		t.Errorf("redirected to %s, want the login", to)
	}
	w.wantStatus(w.rest("GET", "/login?return_to=x", "", ""), http.StatusOK)
	w.must(w.gh.SignIn("octocat"))
	if blank := w.rest("GET", "/settings/apps/new", "", ""); blank.status != http.StatusOK || hidden.Match(blank.raw) {
		t.Errorf("the form after the login: %d %s, want one without the manifest", blank.status, blank.raw)
	}
}

// The double knows the permissions that the description does.
func TestPermissionsAreGitHubs(t *testing.T) {
	raw, err := os.ReadFile("testdata/openapi/schemas.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]struct {
					Enum []string `json:"enum"`
				} `json:"properties"`
			} `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	described := doc.Components.Schemas["app-permissions"].Properties
	if len(described) == 0 || len(described) != len(permissionLevels) {
		t.Errorf("%d permissions, want the description's %d", len(permissionLevels), len(described))
	}
	for name, p := range described {
		if got := strings.Fields(permissionLevels[name]); !slices.Equal(got, p.Enum) {
			t.Errorf("%s has the levels %v, want %v", name, got, p.Enum)
		}
	}
}

func FuzzParseManifest(f *testing.F) {
	f.Add(goodManifest)
	f.Add(`{"url":"https://x","hook_attributes":{}}`)
	f.Add(`null`)
	f.Fuzz(func(t *testing.T, text string) {
		m, problem := parseManifest(text)
		if problem == "" && (m.Public == nil || !isWebURL(m.RedirectURL) || m.Permissions.unknown() != "") {
			t.Errorf("parseManifest(%q) = %+v, want it refused", text, m)
		}
	})
}
