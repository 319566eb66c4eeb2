//go:build linux

package browser

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/gatepass/gatepass/broker/console"
	"github.com/gatepass/gatepass/issuing/manifestflow"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
)

// widths are those of a small telephone, a tablet and a desktop screen, in pixels.
var widths = []int64{320, 768, 1920}

// everyWidth checks the page that is shown, at three widths, in light and in dark. It keeps a
// picture of each in the folder GATEPASS_TEST_PICTURES.
func (w *world) everyWidth(name string) {
	w.t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		w.scheme(scheme)
		if bad := evaluate[[]string](w, contrast); len(bad) > 0 {
			w.t.Errorf("%s, %s: hard to read: %q", name, scheme, bad)
		}
		for _, width := range widths {
			w.do(chromedp.EmulateViewport(width, 800))
			if bad := evaluate[[]string](w, misplaced); len(bad) > 0 {
				w.t.Errorf("%s at a width of %d: %q", name, width, bad)
			}
			w.picture(fmt.Sprintf("%s-%04d-%s", name, width, scheme))
		}
	}
	w.do(chromedp.EmulateViewport(1000, 800))
}

// forget has the browser delete its cookies.
func (w *world) forget() {
	w.t.Helper()
	w.do(chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		_, err := cdp.Call(ctx, tab, network.ClearBrowserCookies, cdp.Empty{})
		return err
	}))
}

// Every page of the operators' console.
func TestEveryPageOfTheConsole(t *testing.T) {
	d := newDesk(t)
	open := func(path string, shown chromedp.CSS) {
		t.Helper()
		d.do(chromedp.Navigate(d.url+path), chromedp.WaitVisible(shown))
	}
	open("", "#token")
	d.everyWidth("console-sign-in")
	signIn := func(token string) {
		t.Helper()
		open("", "#token")
		d.do(chromedp.SendKeys(chromedp.CSS("#token"), token+kb.Enter))
	}
	signIn("not the token, but as long")
	d.do(chromedp.WaitVisible(chromedp.CSS("#wrong")))
	d.everyWidth("console-sign-in-wrong")

	d.signInAsOperator()
	d.everyWidth("console-status")
	d.unfold()
	d.everyWidth("console-status-unfolded")
	open("/?prefix=nothing", "#workspaces")
	d.everyWidth("console-status-no-workspace")
	for _, ask := range []string{"workspace&name=sb-b20c4e", "owner&name=acme", "app&name="} {
		open("/console/revoke?kind="+ask, "#confirm")
		kind, _, _ := strings.Cut(ask, "&")
		d.everyWidth("console-ask-" + kind)
	}
	d.do(chromedp.Click(chromedp.CSS("#confirm")), chromedp.WaitVisible(chromedp.CSS(".notice.bad")))
	d.everyWidth("console-status-all-blocked")
	entry := evaluate[string](d.world, `new URL(document.querySelector('#refused').closest('section').querySelector('td a').href).search`)
	open("/console/entry"+entry, "#entry")
	d.everyWidth("console-entry")
	open("/console/revoke?kind=workspace&name=..", "h1")
	d.everyWidth("console-problem")
}

// The status page of a broker that has just begun, of one with two Apps, and of one that
// reaches neither its store nor GitHub.
func TestTheStatusPageOfOtherBrokers(t *testing.T) {
	t.Run("new", func(t *testing.T) {
		d := newEmptyDesk(t, nil)
		d.signInAsOperator()
		d.everyWidth("console-status-new")
	})
	t.Run("two Apps", func(t *testing.T) {
		d := newEmptyDesk(t, func(o *console.Options) { o.App = twoApps{o.App} })
		d.fill()
		d.signInAsOperator()
		d.everyWidth("console-status-two-apps")
	})
	t.Run("out of reach", func(t *testing.T) {
		d := newEmptyDesk(t, func(o *console.Options) { o.Store, o.App = unlisted{o.Store}, unreachable{o.App} })
		d.fill()
		d.signInAsOperator()
		if d.do(chromedp.WaitVisible(chromedp.CSS(".wrong"))); evaluate[int](d.world, `document.querySelectorAll('.wrong').length`) != 2 {
			t.Error("the page does not say that neither store nor GitHub can be read")
		}
		d.everyWidth("console-status-out-of-reach")
	})
}

// twoApps is a pool of an App and one whose key is wrong.
type twoApps struct{ console.GitHub }

func (a twoApps) Apps() []console.App {
	return []console.App{
		{Name: "main", ClientID: "Iv23liAbCdEfGhIjKlMn", GitHub: a.GitHub},
		{Name: "second-app-for-large-organizations", ClientID: "Iv23liNoPqRsTuVwXyZa", GitHub: unreachable(a), Problem: errors.New("its key is not the App's")},
	}
}

var errAway = errors.New("it does not answer")

type unreachable struct{ console.GitHub }

func (unreachable) Installations(context.Context) iter.Seq2[mint.Installation, error] {
	return func(yield func(mint.Installation, error) bool) { yield(mint.Installation{}, errAway) }
}

func (unreachable) Rate() (mint.Rate, bool) { return mint.Rate{}, false }

// unlisted is a store whose tokens cannot be read.
type unlisted struct{ store.Store }

func (u unlisted) Get(ctx context.Context, name store.Name) (store.Entry, error) {
	if name.IsVended() {
		return store.Entry{}, errAway
	}
	return u.Store.Get(ctx, name)
}

// A setup is the page of "gatepass app create", and a browser.
type setup struct {
	*world
	*manifestflow.Server
}

func (w *world) setUp(flow manifestflow.Flow) setup {
	w.t.Helper()
	flow.GitHub = "https://github.com"
	s, err := manifestflow.Open(flow)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { s.Close() })
	return setup{w, s}
}

func (s setup) open() {
	s.t.Helper()
	s.do(chromedp.Navigate(s.Server.URL()), chromedp.WaitVisible(chromedp.CSS("h1")))
}

// answer opens the address to which GitHub sends the browser.
func (s setup) answer(code, state string) {
	s.t.Helper()
	s.do(chromedp.Navigate(s.Server.URL()+"callback?code="+code+"&state="+state), chromedp.WaitVisible(chromedp.CSS("h1")))
}

// state is what the page gives to GitHub.
func (s setup) state() string {
	s.t.Helper()
	return evaluate[string](s.world, `new URL(document.querySelector("#create").form.action).searchParams.get("state")`)
}

// Every page of "gatepass app create".
func TestEveryPageOfTheAppsCreation(t *testing.T) {
	chromium := os.Getenv("GATEPASS_TEST_CHROMIUM")
	if chromium == "" {
		t.Skip("missing: Chromium (make test-real sets GATEPASS_TEST_CHROMIUM)")
	}
	w := newPictureWorld(t, chromium)
	ours := acmesApp(t)
	s := w.setUp(ours)
	s.open()
	w.everyWidth("app-form")
	state := s.state()
	s.answer("", state)
	w.everyWidth("app-no-code")
	s.answer(strings.Repeat("a", 40), "another")
	w.everyWidth("app-wrong-state")
	w.forget()
	s.open()
	w.everyWidth("app-another-browser")

	s = w.setUp(manifestflow.Flow{
		Manifest: mint.Manifest{Homepage: "https://octocat.example", Public: true, Permissions: verbs(t, "clone", "push", "comment", "review", "checks", "workflow", "actions")},
		KeyGoes:  "awskms:///arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
	})
	s.open()
	w.everyWidth("app-form-public")
	w.do(chromedp.Click(chromedp.CSS("#cancel")), chromedp.WaitNotPresent(chromedp.CSS("#cancel")))
	w.everyWidth("app-cancelled")

	kept := manifestflow.Outcome{
		App: "gatepass-acme", KeptIn: "/var/lib/gatepass", Install: "https://github.com/apps/gatepass-acme/installations/new", Command: "gatepass app discover --store file:///var/lib/gatepass",
	}
	unconfirmed := kept
	unconfirmed.Problem, unconfirmed.Command = "GitHub answered 401: A JSON web token could not be decoded", "gatepass app status --store file:///var/lib/gatepass"
	for name, outcome := range map[string]manifestflow.Outcome{
		"ready": kept, "unconfirmed": unconfirmed,
		"not-kept": {App: "gatepass-acme", Problem: "write /var/lib/gatepass/config/github/private-key: no space left on device", Command: "gatepass app add --app-client-id Iv23liAbCdEfGhIjKlMn --private-key-file PEM"},
		"not-made": {Problem: "exchange the code: GitHub answered 404", Command: "gatepass app create --org acme"},
	} {
		s := w.setUp(ours)
		s.open()
		state := s.state()
		go s.Finish(outcome)
		s.answer(strings.Repeat("a", 40), state)
		w.everyWidth("app-" + name)
		s.answer(strings.Repeat("a", 40), state)
		if name == "ready" {
			w.everyWidth("app-used")
		}
	}
	if os.Getenv("GATEPASS_TEST_PICTURES") != "" { // it comes after 20 seconds
		s := w.setUp(ours)
		s.open()
		s.answer(strings.Repeat("a", 40), s.state())
		w.everyWidth("app-working")
	}
}

func verbs(t *testing.T, names ...string) mint.Permissions {
	t.Helper()
	permissions, err := mint.Verbs(names...)
	if err != nil {
		t.Fatal(err)
	}
	return permissions
}

func acmesApp(t *testing.T) manifestflow.Flow {
	t.Helper()
	return manifestflow.Flow{
		Manifest: mint.Manifest{Name: "gatepass-acme", Homepage: "https://acme.example", Permissions: verbs(t, "clone", "push", "review")},
		Org:      "acme", KeyGoes: "/var/lib/gatepass",
	}
}

// The pictures of docs/console.md and docs/app.md, which "make pictures" writes.
func TestPicturesForTheDocumentation(t *testing.T) {
	if os.Getenv("GATEPASS_TEST_PICTURES") == "" {
		t.Skip("make pictures takes them")
	}
	d := newDesk(t)
	d.signInAsOperator()
	for _, scheme := range []string{"dark", "light"} {
		d.scheme(scheme)
		d.do(chromedp.EmulateViewport(1100, 100)) // a picture is as high as its page
		d.picture("console-" + scheme)
	}
	s := d.setUp(acmesApp(t))
	s.open()
	s.do(chromedp.EmulateViewport(760, 100))
	s.picture("app-create")
}
