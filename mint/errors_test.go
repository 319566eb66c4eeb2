package mint

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/test/fakegithub"
)

// GitHub's 422 says that some permission is not granted. Its reader needs to know
// which, what is granted instead, and who can change that where.
func TestAPermissionThatIsNotGranted(t *testing.T) {
	w := newWorld(t)
	if err := w.SetPermissions(w.acme.ID, fakegithub.Permissions{"contents": "read", "metadata": "read"}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		permissions map[string]string
		want        []string
	}{
		{map[string]string{"contents": "write"}, []string{
			"the installation on Acme lacks contents: write (granted: read); ask an owner of the organization Acme to approve it: https://", "/settings/installations/",
		}},
		{map[string]string{"workflows": "write", "contents": "write"}, []string{
			"lacks contents: write (granted: read), workflows: write (granted: none); the App does not request it: add it to the permissions of the App ", ", then ask an owner",
		}},
	} {
		_, err := w.app.Mint(t.Context(), Grant{Installation: w.acme.ID, Repositories: RepositoryNames("widgets"), Permissions: PermissionLevels(c.permissions), Owner: "Acme"})
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Kind != NotGranted || strings.Contains(err.Error(), "\n") {
			t.Fatalf("Mint = %v, want NotGranted in one line", err)
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("Mint = %v, want %q in it", err, want)
			}
		}
	}
}

// follow lets the App follow GitHub's redirects, which its description of the API
// leaves out.
func (w *world) follow() { w.app.Client = &http.Client{Transport: w.Transport()} }

// GitHub answers for the former name of an organization as if it did not exist. So that
// users do not look for a lost installation, the error gives the new name.
func TestARenamedOrganizationIsNamed(t *testing.T) {
	w := newWorld(t)
	w.follow()
	was := w.installed()
	if err := w.RenameAccount("Acme", "newcorp"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.app.InstallationOf(t.Context(), "acme"); err == nil || strings.Contains(err.Error(), "newcorp") {
		t.Fatalf("InstallationOf = %v: the double knows more than GitHub", err)
	}
	isNamed := func(what string, err error) {
		t.Helper()
		if e, ok := errors.AsType[*Error](err); !ok || e.Kind != Renamed || !strings.Contains(err.Error(), "newcorp") {
			t.Errorf("%s = %v, want the new name", what, err)
		}
	}
	isNamed("Renamed by a repository", w.app.Renamed(t.Context(), "acme", 0, parse(t, "octo/*", "acme/widgets")))
	isNamed("Renamed by an installation", w.app.Renamed(t.Context(), "acme", w.acme.ID, parse(t, "acme/*")))
	if err := w.app.Renamed(t.Context(), "nobody", 0, parse(t, "nobody/x")); err != nil {
		t.Errorf("Renamed(nobody) = %v, want nil", err)
	}
	_, err := w.app.InstallationFor(t.Context(), "acme", "widgets")
	isNamed("InstallationFor", err)
	_, err = w.app.Resolve(t.Context(), parse(t, "acme/*"), contents("read"), was)
	isNamed("Resolve of a wildcard", err)
	_, err = w.app.Mint(t.Context(), Grant{Installation: w.acme.ID, Repositories: RepositoryNames("nothing"), Permissions: contents("read"), Owner: "Acme"})
	isNamed("Mint of what does not exist", err)
	m, err := w.app.Mint(t.Context(), Grant{Installation: w.acme.ID, Repositories: RepositoryNames("widgets"), Permissions: contents("read"), Owner: "Acme"})
	if err != nil || m.RenamedTo("acme") != "newcorp" || m.RenamedTo("NewCorp") != "" {
		t.Errorf("Mint = %v, %v, want a token that says newcorp", m, err)
	}
}

// A repository that was renamed but kept its owner causes no error about the owner.
func TestARenamedRepositoryKeepsItsOwner(t *testing.T) {
	w := newWorld(t)
	w.follow()
	if err := w.RenameRepository("Acme", "widgets", "gizmos"); err != nil {
		t.Fatal(err)
	}
	_, err := w.app.InstallationFor(t.Context(), "acme", "widgets")
	if e, ok := errors.AsType[*Error](err); !ok || e.Kind != Renamed || !strings.Contains(err.Error(), "it has another name now") {
		t.Errorf("InstallationFor = %v, want that it has another name", err)
	}
}

// A user who knows the API's address may write that: it is refused with what to write.
func TestTheAddressOfTheAPI(t *testing.T) {
	for github, want := range map[string]string{
		"https://api.github.com":              "write https://github.com",
		"https://API.github.com/":             "write https://github.com",
		"https://api.acme.ghe.com":            "write https://acme.ghe.com",
		"https://ghe.example:8443/api/v3":     "write https://ghe.example:8443",
		"https://ghe.example/api/v3/":         "write https://ghe.example",
		"https://github.com/acme":             "without a path",
		"https://ghs_0123456789@api.acme.com": "want https://HOST",
	} {
		if got, err := APIURL(github); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("APIURL(%q) = %q, %v, want %q", github, got, err, want)
		}
	}
}
