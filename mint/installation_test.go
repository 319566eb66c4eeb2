package mint

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/test/fakegithub"
)

func TestInstallationsFollowEveryPage(t *testing.T) {
	g := newGitHub(t)
	apps := g.app
	for i := range 230 {
		login := "org-" + string(rune('a'+i/26)) + string(rune('a'+i%26))
		if err := g.AddAccount(login, fakegithub.Organization); err != nil {
			t.Fatal(err)
		}
		inst, err := g.AddInstallation(fakegithub.Installation{AppID: g.appID(t), Account: login, RepositorySelection: "all"})
		if err != nil {
			t.Fatal(err)
		}
		if i == 229 {
			g.Suspend(inst.ID, true)
		}
	}
	all, suspended := 0, 0
	for inst, err := range apps.Installations(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		all++
		if inst.Suspended() {
			suspended++
		}
	}
	if all != 231 || suspended != 1 {
		t.Errorf("Installations = %d, %d suspended, want 231 and 1", all, suspended)
	}
}

func (g *github) appID(t *testing.T) int64 {
	t.Helper()
	response, err := g.app.rest().do(t.Context(), call{doing: "look", method: http.MethodGet, want: 200, url: g.app.URL + "/app"})
	if err != nil {
		t.Fatal(err)
	}
	var app struct {
		ID int64 `json:"id"`
	}
	if err := json.Unmarshal(response.body, &app); err != nil {
		t.Fatal(err)
	}
	return app.ID
}

func TestInstallationOfAnOwner(t *testing.T) {
	g := newGitHub(t)
	for _, owner := range []string{"acme", "ACME"} {
		if inst, err := g.app.InstallationOf(t.Context(), owner); err != nil || inst.ID != g.installation {
			t.Errorf("InstallationOf(%s) = %d, %v, want %d", owner, inst.ID, err, g.installation)
		}
	}
	_, err := g.app.InstallationOf(t.Context(), "nobody")
	if e, ok := errors.AsType[*Error](err); !ok || e.Kind != NotInstalled || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("InstallationOf(nobody) = %v, want not installed, naming the owner", err)
	}
	if inst, err := g.app.InstallationFor(t.Context(), "acme", "widgets"); err != nil || inst.ID != g.installation {
		t.Errorf("InstallationFor = %d, %v, want %d", inst.ID, err, g.installation)
	}
}

func TestNextPageStaysOnTheHost(t *testing.T) {
	a := &App{}
	for link, ok := range map[string]bool{
		`<https://api.github.com/app/installations?page=2>; rel="next", <https://api.github.com/x>; rel="last"`: true,
		`<https://evil.example/app/installations?page=2>; rel="next"`:                                           false,
		`<http://api.github.com/app/installations?page=2>; rel="next"`:                                          false,
		`<https://api.github.com/x>; rel="prev"`:                                                                true,
	} {
		if _, err := a.rest().nextPage(http.Header{"Link": {link}}); (err == nil) != ok {
			t.Errorf("nextPage(%s) = %v, want ok %v", link, err, ok)
		}
	}
}
