package mint

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepass/gatepass/test/fakegithub"
)

// world has two organizations with an App on each, and one without.
type world struct {
	*fakegithub.Server
	t    *testing.T
	app  *App
	acme fakegithub.Installation
	octo fakegithub.Installation
}

func newWorld(t *testing.T) *world {
	t.Helper()
	gh, err := fakegithub.New(fakegithub.Options{HandlerOnly: true, RESTOnly: true, Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { gh.Close() })
	app, err := gh.AddApp(fakegithub.App{Slug: "gatepass", Keys: []*rsa.PublicKey{&testKey.PublicKey}, Permissions: map[string]string{"contents": "write", "metadata": "read"}})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Server: gh, t: t}
	w.add("Acme/widgets", "Acme/api-one", "Acme/api-two", "Acme/apix", "Acme/shared", "octo/shared", "octo/other", "elsewhere/shared")
	w.acme = w.install(app, "Acme")
	w.octo = w.install(app, "octo")
	w.app = &App{ID: app.ClientID, Signer: &KeySigner{testKey}, URL: "https://github.test", Client: &http.Client{Transport: contract(t).Watch(t, gh.Transport())}, Now: gh.Now}
	return w
}

func (w *world) add(names ...string) {
	w.t.Helper()
	for _, full := range names {
		owner, name, _ := strings.Cut(full, "/")
		if _, err := w.AddRepository(fakegithub.Repository{Owner: owner, Name: name}); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) install(app fakegithub.App, account string) fakegithub.Installation {
	w.t.Helper()
	i, err := w.AddInstallation(fakegithub.Installation{AppID: app.ID, Account: account, AccountType: fakegithub.Organization, RepositorySelection: "all"})
	if err != nil {
		w.t.Fatal(err)
	}
	return i
}

func (w *world) installed() []Installation {
	w.t.Helper()
	var all []Installation
	for i, err := range w.app.Installations(w.t.Context()) {
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, i)
	}
	return all
}

func parse(t *testing.T, texts ...string) []Pattern {
	t.Helper()
	patterns := make([]Pattern, len(texts))
	for i, text := range texts {
		p, err := ParsePattern(text)
		if err != nil {
			t.Fatal(err)
		}
		patterns[i] = p
	}
	return patterns
}

// open resolves, mints, and returns what the tokens reach, according to GitHub.
func (w *world) open(patterns ...string) []string {
	w.t.Helper()
	grants, err := w.app.Resolve(w.t.Context(), parse(w.t, patterns...), contents("read"), w.installed())
	if err != nil {
		w.t.Fatalf("Resolve(%q) = %v", patterns, err)
	}
	if left := w.Tokens(); len(left) > 0 {
		w.t.Errorf("Resolve(%q) leaves live tokens %v, want them revoked", patterns, left)
	}
	for _, g := range grants {
		m, err := w.app.Mint(w.t.Context(), g)
		if err != nil || len(m.Narrower) > 0 {
			w.t.Fatalf("Mint(%v) = %v, %v", g, m.Narrower, err)
		}
	}
	var opened []string
	for _, token := range w.Tokens() {
		opened = append(opened, fmt.Sprintf("%d: %s", token.InstallationID, strings.Join(token.Repositories, " ")))
	}
	return opened
}

func TestResolveOpensWhatPatternsSay(t *testing.T) {
	for _, c := range []struct {
		name       string
		patterns   []string
		acme, octo string
	}{
		{"an exact name", []string{"Acme/widgets"}, "Acme/widgets", ""},
		{"in another case", []string{"aCME/WIDGETS"}, "Acme/widgets", ""},
		// The first system asked the first owner's installation for all names.
		{"names of two owners", []string{"Acme/widgets", "octo/shared"}, "Acme/widgets", "octo/shared"},
		{"the same name of two owners", []string{"Acme/shared", "octo/shared"}, "Acme/shared", "octo/shared"},
		{"one owner in two cases", []string{"Acme/widgets", "ACME/apix"}, "Acme/apix Acme/widgets", ""},
		// The first system sent org/api-* as it was, and any wildcard opened
		// everything.
		{"a prefix", []string{"Acme/api-*"}, "Acme/api-one Acme/api-two", ""},
		{"a prefix and an exact name", []string{"Acme/api-*", "acme/widgets"}, "Acme/api-one Acme/api-two Acme/widgets", ""},
		{"patterns that overlap", []string{"Acme/api-*", "Acme/api-one", "Acme/a*"}, "Acme/api-one Acme/api-two Acme/apix", ""},
		{"a whole owner", []string{"octo/*"}, "", "octo/other octo/shared"},
		{"a whole owner and another's name", []string{"octo/*", "Acme/widgets"}, "Acme/widgets", "octo/other octo/shared"},
		{"everything there is", []string{"*"}, "Acme/api-one Acme/api-two Acme/apix Acme/shared Acme/widgets", "octo/other octo/shared"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			var want []string
			if c.acme != "" {
				want = append(want, fmt.Sprintf("%d: %s", w.acme.ID, c.acme))
			}
			if c.octo != "" {
				want = append(want, fmt.Sprintf("%d: %s", w.octo.ID, c.octo))
			}
			if got := w.open(c.patterns...); !slices.Equal(got, want) {
				t.Errorf("%q opens %q, want %q", c.patterns, got, want)
			}
		})
	}
}

func (w *world) refuse(kind Kind, want string, patterns ...string) {
	w.t.Helper()
	grants, err := w.app.Resolve(w.t.Context(), parse(w.t, patterns...), contents("read"), w.installed())
	if err == nil {
		for _, g := range grants {
			if _, err = w.app.Mint(w.t.Context(), g); err != nil {
				break
			}
		}
	}
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		w.t.Fatalf("%q: error = %v, want one line with %q", patterns, err, want)
	}
	if e, ok := errors.AsType[*Error](err); kind >= 0 && (!ok || e.Kind != kind) {
		w.t.Errorf("%q: error %v is of kind %v, want %v", patterns, err, e, kind)
	}
	if left := w.Tokens(); len(left) > 0 {
		w.t.Errorf("%q leaves live tokens %v, want none", patterns, left)
	}
}

func TestResolveRefuses(t *testing.T) { synctest.Test(t, inResolveRefuses) }

func inResolveRefuses(t *testing.T) {
	w := newWorld(t)
	// Another account's installation is never used instead.
	w.refuse(NotInstalled, "not installed on elsewhere", "elsewhere/shared")
	w.refuse(NotInstalled, "not installed on elsewhere", "Acme/widgets", "elsewhere/*")
	w.refuse(NotInstalled, " / find the installation on faraway", "elsewhere/a", "faraway/b") // all of them at once
	w.refuse(-1, "no repository that the installation can reach matches Acme/zzz-*", "Acme/zzz-*")
	w.refuse(NotGranted, "find Acme/zzz: ", "Acme/api-*", "Acme/zzz")
	w.refuse(NotGranted, "find Acme/zzz: ", "Acme/zzz", "Acme/widgets")
	if grants, err := w.app.Resolve(t.Context(), nil, contents("read"), w.installed()); err == nil {
		t.Errorf("Resolve(nothing) = %v, want an error", grants)
	}
	if grants, err := w.app.Resolve(t.Context(), make([]Pattern, 1), contents("read"), w.installed()); err == nil {
		t.Errorf("Resolve(the zero Pattern) = %v, want an error", grants)
	}
	if grants, err := w.app.Resolve(t.Context(), parse(t, "*"), Permissions{}, w.installed()); err == nil {
		t.Errorf("Resolve(no permissions) = %v, want an error", grants)
	}
}

func TestASuspendedInstallationIsNamed(t *testing.T) {
	w := newWorld(t)
	if err := w.Suspend(w.octo.ID, true); err != nil {
		t.Fatal(err)
	}
	w.refuse(Suspended, "installation on octo: it has been suspended", "Acme/widgets", "octo/shared")
	grants, err := w.app.Resolve(t.Context(), parse(t, "*"), contents("read"), w.installed())
	if err != nil || len(grants) != 1 || !strings.Contains(strings.Join(grants[0].Notes, "\n"), "suspended: octo") {
		t.Errorf("Resolve(*) = %v, %v, want Acme with a note about octo", grants, err)
	}
	if err := w.Suspend(w.acme.ID, true); err != nil {
		t.Fatal(err)
	}
	w.refuse(NotInstalled, "every installation of the App is suspended: Acme, octo", "*")
	// An installation of which only ID and login are known does not show that it is
	// suspended; GitHub's answer does.
	known := []Installation{{ID: w.octo.ID, Account: Account{Login: "octo"}}}
	_, err = w.app.Resolve(t.Context(), parse(t, "octo/*"), contents("read"), known)
	if e, ok := errors.AsType[*Error](err); !ok || e.Kind != Suspended || !strings.Contains(err.Error(), "of octo") {
		t.Errorf("Resolve = %v, want octo's suspension", err)
	}
}

func TestARenamedRepositoryIsNoticed(t *testing.T) {
	w := newWorld(t)
	if err := w.RenameRepository("Acme", "widgets", "gadgets"); err != nil {
		t.Fatal(err)
	}
	w.refuse(Renamed, "Acme/gadgets now; write its new name in the profile", "Acme/widgets", "Acme/shared")
	w.refuse(Renamed, "Acme/gadgets now; write its new name in the profile", "Acme/widgets", "Acme/api-*")
	if got := w.open("Acme/gadgets"); len(got) != 1 {
		t.Errorf("the new name opens %q, want one repository", got)
	}
}

// A public repository can be read without being granted.
func TestAPublicRepositoryIsNotTakenForGranted(t *testing.T) {
	w := newWorld(t)
	if _, err := w.AddRepository(fakegithub.Repository{Owner: "octo", Name: "open", Public: true}); err != nil {
		t.Fatal(err)
	}
	if err := w.SetRepositories(w.octo.ID, "selected", "other"); err != nil {
		t.Fatal(err)
	}
	w.refuse(NotGranted, "find octo/open: the installation cannot reach it", "octo/o*", "octo/open")
	w.refuse(NotGranted, "find octo/open: the installation cannot reach it", "octo/open")
}

func TestWildcardsReadEveryPageAndStopAtTheLimit(t *testing.T) {
	w := newWorld(t)
	for i := range 120 {
		w.add(fmt.Sprintf("octo/many-%03d", i))
	}
	grants, err := w.app.Resolve(t.Context(), parse(t, "octo/many-*"), contents("read"), w.installed())
	if err != nil || len(grants[0].Repositories.pins) != 120 {
		t.Fatalf("Resolve = %v, want 120 repositories", err)
	}
	pages := pager{total: 501, next: w.app.Client.Transport}
	w.app.Client = &http.Client{Transport: &pages}
	w.refuse(-1, "octo/* matches more than the 500 repositories", "octo/*")
	pages.total = 500
	grants, err = w.app.Resolve(t.Context(), parse(t, "octo/*"), contents("read"), w.installed())
	if err != nil || len(grants[0].Repositories.pins) != 500 {
		t.Errorf("Resolve = %v, want the 500 repositories that are allowed", err)
	}
}

// pager answers requests for the list of repositories, of which there are total.
type pager struct {
	total int
	next  http.RoundTripper
}

func (p *pager) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path != "/installation/repositories" {
		return p.next.RoundTrip(r)
	}
	var number int
	if _, err := fmt.Sscan(r.URL.Query().Get("page"), &number); err != nil {
		number = 1
	}
	var repositories []string
	for i := (number-1)*100 + 1; i <= min(number*100, p.total); i++ {
		repositories = append(repositories, fmt.Sprintf(`{"id":%d,"name":"r%d","full_name":"octo/r%d"}`, i, i, i))
	}
	response := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Request: r, Body: http.NoBody}
	if number*100 < p.total {
		response.Header.Set("Link", fmt.Sprintf(`<https://github.test/installation/repositories?per_page=100&page=%d>; rel="next"`, number+1))
	}
	response.Body = bodyOf(`{"repositories":[` + strings.Join(repositories, ",") + `]}`)
	return response, nil
}

// The token that reads names is revoked even if the caller has given up.
func TestTheReadersTokenIsRevokedInAnyCase(t *testing.T) {
	w := newWorld(t)
	installed := w.installed()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.Fail(fakegithub.To(http.MethodGet, "/installation/repositories"), fakegithub.Status(500), 1)
	w.app.Client = &http.Client{Transport: canceller{w.Transport(), cancel}}
	if _, err := w.app.Resolve(ctx, parse(t, "octo/*"), contents("read"), installed); err == nil {
		t.Error("Resolve is done, want an error")
	}
	if left := w.Tokens(); len(left) > 0 {
		t.Errorf("live tokens are %v, want none", left)
	}
}

// canceller cancels a context when the list of repositories is requested.
type canceller struct {
	next   http.RoundTripper
	cancel func()
}

func (c canceller) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := c.next.RoundTrip(r)
	if strings.HasSuffix(r.URL.Path, "/installation/repositories") {
		c.cancel()
	}
	return response, err
}

func TestInstallationOfComparesWithoutCase(t *testing.T) {
	installed := []Installation{{ID: 1, Account: Account{Login: "Acme"}}, {ID: 2, Account: Account{Login: "acme-labs"}, SuspendedAt: time.Now()}}
	if i, err := installationOf("acme", installed); err != nil || i.ID != 1 {
		t.Errorf("installationOf(acme) = %v, %v, want 1", i.ID, err)
	}
	if i, err := installationOf("acm", installed); err == nil {
		t.Errorf("installationOf(acm) = %v, want an error", i.ID)
	}
}

func bodyOf(text string) io.ReadCloser { return io.NopCloser(strings.NewReader(text)) }
