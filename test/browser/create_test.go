//go:build linux

package browser

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/gatepass/gatepass/mint"
)

// picture keeps what the browser shows in the folder GATEPASS_TEST_PICTURES, for
// people to look at.
func (w *world) picture(name string) {
	w.t.Helper()
	dir := os.Getenv("GATEPASS_TEST_PICTURES")
	if dir == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), run(w, chromedp.FullScreenshot(100)), 0o644); err != nil {
		w.t.Error(err)
	}
}

// scheme has the browser prefer light or dark.
func (w *world) scheme(name string) {
	w.t.Helper()
	w.do(chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		_, err := cdp.Call(ctx, tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
		})
		return err
	}))
}

// contrast lists texts that are hard to read: below 4.5 to 1, the least that WCAG
// 2.2 asks for at level AA (https://www.w3.org/TR/WCAG22/#contrast-minimum).
const contrast = `(() => {
	const rgb = c => { const p = c.match(/[\d.]+/g).map(Number); return p.length > 3 && p[3] === 0 ? null : p.slice(0, 3) }
	const light = c => { const [r, g, b] = c.map(v => { v /= 255; return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4 }); return .2126 * r + .7152 * g + .0722 * b }
	const behind = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c) return c } return [255, 255, 255] }
	const bad = []
	for (const e of document.querySelectorAll('body *')) {
		if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue
		const [a, b] = [light(rgb(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x)
		const ratio = (a + .05) / (b + .05)
		if (!(ratio >= 4.5)) bad.push(e.tagName + ' ' + e.textContent.trim().slice(0, 30) + ' ' + ratio.toFixed(1))
	}
	return bad
})()`

// looks checks what can be checked of a page's looks, in light and in dark.
func (w *world) looks(name string) {
	w.t.Helper()
	back := map[string]string{}
	for _, scheme := range []string{"light", "dark"} {
		w.scheme(scheme)
		if bad := evaluate[[]string](w, contrast); len(bad) > 0 {
			w.t.Errorf("%s, %s: hard to read: %q", name, scheme, bad)
		}
		back[scheme] = evaluate[string](w, `getComputedStyle(document.body).backgroundColor`)
		w.picture(name + "-" + scheme)
	}
	if back["light"] == back["dark"] {
		w.t.Errorf("%s is %s in light and in dark, want the style to apply", name, back["light"])
	}
	w.do(chromedp.EmulateViewport(320, 600))
	if wide := evaluate[int](w, `document.documentElement.scrollWidth`); wide > 320 {
		w.t.Errorf("%s is %d pixels wide on a screen of 320", name, wide)
	}
	w.do(chromedp.EmulateViewport(1000, 800))
}

// tab presses the key until an element has the focus, and returns what had it on
// the way.
func (w *world) tabTo(id string) (passed []string) {
	w.t.Helper()
	for range 10 {
		w.do(chromedp.KeyEvent(kb.Tab))
		at := evaluate[string](w, `document.activeElement.id || document.activeElement.tagName`)
		if at == id {
			return passed
		}
		passed = append(passed, at)
	}
	w.t.Fatalf("the keyboard does not reach %s, but %q", id, passed)
	return nil
}

// The whole way by keyboard, with a name that would be a script if it could.
func TestCreateTheAppInABrowser(t *testing.T) {
	w := newWorld(t)
	const name = `"><img src=x onerror=alert(1)>`
	making := w.create("--org", "acme", "--permissions", "clone,push,review", "--name", name)
	w.do(chromedp.Navigate(making.address), chromedp.WaitVisible(chromedp.CSS("#create")))
	if shown := w.text("main"); !strings.Contains(shown, name) || !strings.Contains(shown, "the organization acme") || !strings.Contains(shown, "clone, fetch and push") {
		t.Errorf("the page shows\n%s\nwant name, owner and permissions", shown)
	}
	if n := evaluate[int](w, `document.images.length + document.scripts.length`); n != 0 {
		t.Errorf("the page has %d images and scripts, want none", n)
	}
	w.looks("form")
	if passed := w.tabTo("create"); fmt.Sprint(passed) != "[A]" {
		t.Errorf("before the button the keyboard comes to %q, want the link only", passed)
	}
	if style := evaluate[string](w, `getComputedStyle(document.activeElement).outlineStyle`); style == "none" {
		t.Error("what has the focus looks like all else")
	}
	if complained := w.complained(); len(complained) > 0 {
		t.Errorf("the browser complains: %q", complained)
	}

	w.do(chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible(chromedp.CSS("#name")))
	if got := evaluate[string](w, `document.querySelector("#name").value + location.host`); got != name+strings.TrimPrefix(w.localhost(), "https://") {
		t.Errorf("GitHub asks about %s, want the page's name", got)
	}
	w.do(chromedp.Click(chromedp.CSS("#create")), chromedp.WaitVisible(chromedp.CSS("#install")))
	at := run(w, chromedp.Location())
	if h1 := w.text("h1"); h1 != name+" is ready" || !strings.HasPrefix(at, making.address) || strings.Contains(at, "?") {
		t.Errorf("the last page at %s says %q, want success and no code in its address", at, h1)
	}
	w.looks("result")

	out, errs, status := making.wait()
	if status != 0 || errs != "" || !strings.Contains(out, "the App "+name+" is ready\n") {
		t.Errorf("app create = %d, %q, %q, want 0 and the App", status, out, errs)
	}
	app := w.Apps()[0]
	if app.Owner != "acme" || app.Public || !maps.Equal(app.Permissions, map[string]string{"contents": "write", "pull_requests": "write", "metadata": "read"}) {
		t.Errorf("GitHub made %+v, want what the page showed", app)
	}
	key, err := mint.ReadKey(filepath.Join(w.store(), "config/github/private-key"))
	if err != nil {
		t.Fatal(err)
	}
	client := &mint.App{ID: app.ClientID, Signer: key, URL: w.URL() + "/api/v3", Client: w.Client()}
	if self, err := client.Self(t.Context()); err != nil || self.ID != app.ID {
		t.Errorf("GitHub takes the kept key for that of %+v, %v, want the new App's", self, err)
	}
}

// GitHub drops the manifest while the user signs in; the page keeps it.
func TestSignInAndComeBack(t *testing.T) {
	w := newWorld(t)
	w.signIn("")
	making := w.create("--name", "Sandbox Pass")
	w.do(chromedp.Navigate(making.address), chromedp.Click(chromedp.CSS("#create")), chromedp.WaitNotPresent(chromedp.CSS("#create")), chromedp.WaitVisible(chromedp.CSS("h1")))
	if h1 := w.text("h1"); h1 != "Sign in to GitHub" {
		t.Fatalf("GitHub says %q, want the login", h1)
	}
	w.signIn("octocat")
	w.do(chromedp.Navigate(making.address), chromedp.Click(chromedp.CSS("#create")), chromedp.WaitVisible(chromedp.CSS("#name")), chromedp.Click(chromedp.CSS("#create")), chromedp.WaitVisible(chromedp.CSS("#install")))
	if out, errs, status := making.wait(); status != 0 {
		t.Errorf("app create = %d, %q, %q, want 0", status, out, errs)
	}
	if app := w.Apps()[0]; app.Owner != "octocat" || app.Name != "Sandbox Pass" {
		t.Errorf("GitHub made %+v, want the App of who signed in", app)
	}
}

// A page that knows the secret address still gets nowhere, whether it is of
// another site or, as other programs' pages on this machine are, of the same one.
func TestOtherPagesGetNowhere(t *testing.T) {
	w := newWorld(t)
	making := w.create()
	w.do(chromedp.Navigate(making.address), chromedp.WaitVisible(chromedp.CSS("#create")))
	cancel := evaluate[string](w, `document.querySelector("#cancel").form.action`)
	callback := making.address + "callback?code=" + strings.Repeat("a", 40) + "&state="
	evil := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(rw, `<title>evil</title><form method="post" action="%s"><button id="post">x</button></form>
			<a id="guess" href="%sguess">x</a><a id="none" href="%s">x</a><iframe src="%s"></iframe>`, cancel, callback, callback, making.address)
	}))
	defer evil.Close()
	other, err := url.Parse(evil.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"127.0.0.1", "localhost"} {
		page := "http://" + host + ":" + other.Port() + "/"
		w.complained()
		w.do(chromedp.Navigate(page), chromedp.WaitVisible(chromedp.CSS("#post")))
		if said := strings.Join(w.complained(), "\n"); !strings.Contains(said, "frame-ancestors") {
			t.Errorf("%s: the browser complains of %q, want that it shows no page in another", page, said)
		}
		w.do(chromedp.Click(chromedp.CSS("#post")), chromedp.WaitNotPresent(chromedp.CSS("#post")))
		if text := w.text("body"); !strings.Contains(text, "cross-origin") {
			t.Errorf("%s: a form of another page gets %q, want it refused as cross-origin", page, text)
		}
		for _, link := range []chromedp.CSS{"#guess", "#none"} {
			w.do(chromedp.Navigate(page), chromedp.Click(link), chromedp.WaitVisible(chromedp.CSS("h1")))
			if h1 := w.text("h1"); h1 != "This answer is not for this page" {
				t.Errorf("%s: a code with another state gets %q, want it refused", page, h1)
			}
		}
	}
	w.fromAnotherWindow(making.address)

	w.do(chromedp.Navigate(making.address), chromedp.Click(chromedp.CSS("#cancel")), chromedp.WaitNotPresent(chromedp.CSS("#cancel")))
	if h1 := w.text("h1"); h1 != "Cancelled" {
		t.Errorf("Cancel shows %q, want Cancelled", h1)
	}
	if out, errs, status := making.wait(); status != 1 || out != "" || errs != "gatepass: create the App: it was cancelled on the page\n" {
		t.Errorf("app create = %d, %q, %q, want 1 and one line", status, out, errs)
	}
	if n := len(w.Apps()); n != 0 {
		t.Errorf("GitHub made %d Apps, want none", n)
	}
}

// fromAnotherWindow opens the address where its cookie is not.
func (w *world) fromAnotherWindow(address string) {
	w.t.Helper()
	private, leave := chromedp.NewContext(w.tab, chromedp.WithNewBrowserContext())
	defer leave()
	if err := chromedp.Do(private); err != nil { // opens it
		w.t.Fatal(err)
	}
	mine := w.tab
	defer func() { w.tab = mine }()
	w.tab = private
	w.do(chromedp.Navigate(address), chromedp.WaitVisible(chromedp.CSS("h1")))
	if h1 := w.text("h1"); h1 != "This page belongs to another browser" {
		w.t.Errorf("another window gets %q, want it turned away", h1)
	}
}
