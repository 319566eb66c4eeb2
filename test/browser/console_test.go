//go:build linux

package browser

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/console"
	"github.com/gatepass/gatepass/broker/revoke"
	"github.com/gatepass/gatepass/test/brokertest"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// A desk is a broker with workspaces, and a browser at its status page.
type desk struct {
	*world
	b        *brokertest.Broker
	recorder *console.Recorder
	url      string
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := newEmptyDesk(t, nil)
	d.fill()
	return d
}

// newEmptyDesk is a desk whose broker has just begun. change may alter the console's
// options; nil does not.
func newEmptyDesk(t *testing.T, change func(*console.Options)) *desk {
	t.Helper()
	chromium := os.Getenv("GATEPASS_TEST_CHROMIUM")
	if chromium == "" {
		t.Skip("missing: Chromium (make test-real sets GATEPASS_TEST_CHROMIUM)")
	}
	gh, err := fakegithub.New(fakegithub.Options{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { gh.Close() })
	w := &world{Server: gh, t: t, home: t.TempDir()}
	w.startBrowser(chromium)
	recorder := new(console.Recorder)
	b := brokertest.NewBroker(brokertest.NewGitHub(t), func(j broker.Journal) broker.Journal {
		recorder.Next = j
		return recorder
	})
	revoker := revoke.New(revoke.Config{
		Store: b.Store, App: b.App, Blocklist: b.Blocklist, Cache: b.Cache, Journal: recorder, Log: b.Server.Log, Policy: func() string { return b.Policy.Hash }, Issuer: b.Issuer, Now: b.Now,
	})
	options := console.Options{
		Server: b.Server, Store: b.Store, App: b.App, Revoker: revoker, Recorder: recorder,
		AuditHead: func() string { return "9f2c41d07ab3e85566d1c2" },
	}
	if change != nil {
		change(&options)
	}
	b.Server.Mounted = console.New(options).Routes()
	server := httptest.NewServer(b.Handler())
	t.Cleanup(server.Close)
	return &desk{world: w, b: b, recorder: recorder, url: server.URL}
}

// fill makes a day at a broker.
func (d *desk) fill() {
	d.t.Helper()
	d.b.Repository("acme", "gears")
	d.b.MustToken("ci", "acme/gears", "write")
	d.b.Advance(17 * time.Minute)
	d.b.MustToken("ci", "octo/widgets", "write")
	d.b.MustToken("sb-7f3a91", "acme/widgets", "read")
	d.b.Advance(26 * time.Minute)
	d.b.MustToken("ci", "acme/widgets", "write")
	d.b.MustToken("sb-b20c4e", "acme/widgets", "read")
	d.b.Advance(13 * time.Minute)
	d.b.MustToken("ci", "acme/gears", "write") // the first one has under five minutes left
	for range 7 {
		d.b.Token("sb-b20c4e", "acme/gears", "read")
		d.b.Advance(3 * time.Second)
	}
	for _, asked := range [][3]string{
		{"sb-b20c4e", "octo/widgets", "read"}, {"forged", "acme/widgets", "read"}, {"laptop", "acme/widgets", "read"}, {"sb-7f3a91", "acme/widgets", "write"},
	} {
		d.b.Token(asked[0], asked[1], asked[2])
		d.b.Advance(41 * time.Second)
	}
	d.pushes()
	d.report("sb-7f3a91", "refs/heads/agent/"+strings.Repeat("very-", 12)+"long", "create", "no rule allows it (create)")
	d.report("ci", "refs/heads/main", "force", "this would force the ref to other history; rule main allows create, update")
	if err := d.b.Blocklist.Block(d.t.Context(), "sb-04d9aa"); err != nil {
		d.t.Fatal(err)
	}
	if err := d.b.Suspend(d.b.Installations["octo"], true); err != nil {
		d.t.Fatal(err)
	}
}

// pushes are some that went through the gateway.
func (d *desk) pushes() {
	d.t.Helper()
	for _, p := range []struct{ workspace, ref, operation, outcome, detail string }{
		{"sb-b20c4e", "refs/heads/agent/sb-b20c4e/readme", "create", broker.OutcomeOK, ""},
		{"sb-b20c4e", "refs/heads/main", "update", broker.OutcomeRefused, "no rule allows it (update)"},
		{"ci", "refs/tags/v1.2.0", "create", broker.OutcomeUnknown, "GitHub did not say"},
	} {
		e := broker.Entry{Kind: broker.KindPush, RequestID: "PUSH" + p.operation, Workspace: p.workspace, Repository: "acme/widgets", Ref: p.ref, Operation: p.operation, Outcome: p.outcome, Detail: p.detail, Decision: broker.Granted, Time: d.b.Now()}
		if p.outcome == broker.OutcomeRefused {
			e.Decision = broker.Refused
		}
		if err := d.recorder.Write(d.t.Context(), e, false); err != nil {
			d.t.Fatal(err)
		}
		d.b.Advance(7 * time.Second)
	}
}

// report says that the guard of a workspace refused a push.
func (d *desk) report(workspace, ref, action, reason string) {
	d.t.Helper()
	body, err := api.EncodeRefusedPush(api.RefusedPush{Host: "github.com", Repo: api.Repo{Owner: "acme", Name: "widgets"}, Updates: []api.RefusedUpdate{{Ref: ref, Action: action, Reason: reason}}})
	if err != nil {
		d.t.Fatal(err)
	}
	if got := d.b.Do(workspace, http.MethodPost, api.RefusedPushesPath, string(body)); got.Code != http.StatusNoContent {
		d.t.Fatalf("a report: %d %s", got.Code, got.Body)
	}
	d.b.Advance(9 * time.Second)
}

func (d *desk) signInAsOperator() {
	d.t.Helper()
	d.do(chromedp.Navigate(d.url), chromedp.WaitVisible(chromedp.CSS("#token")),
		chromedp.SendKeys(chromedp.CSS("#token"), brokertest.OperatorToken+kb.Enter), chromedp.WaitVisible(chromedp.CSS("#workspaces")))
}

// From the login to a revoked workspace by keyboard, and what can be checked of
// the looks on the way.
func TestTheStatusPage(t *testing.T) {
	d := newDesk(t)
	d.do(chromedp.Navigate(d.url), chromedp.WaitVisible(chromedp.CSS("#token")))
	d.looks("console-login")
	d.do(chromedp.SendKeys(chromedp.CSS("#token"), "not the token, but as long"+kb.Enter), chromedp.WaitVisible(chromedp.CSS("#wrong")))
	// The browser moves the focus to an autofocus field after the page is visible.
	d.do(chromedp.Poll[chromedp.Void](`document.activeElement.id === "token"`, chromedp.WithPollingTimeout(10*time.Second)))
	d.signInAsOperator()
	if n := evaluate[int](d.world, `document.scripts.length + document.querySelectorAll("[style]").length`); n != 0 {
		t.Errorf("the page has %d scripts and styles of its own, want none", n)
	}
	if said := d.complained(); len(said) > 0 && strings.Contains(strings.Join(said, " "), "Content Security Policy") {
		t.Errorf("the browser complains: %q", said)
	}
	d.looks("console")
	d.accessible()
	d.do(chromedp.EmulateViewport(390, 844))
	if wide := evaluate[int](d.world, `Math.max(...[...document.querySelectorAll(".scroll")].map(e => e.scrollWidth - e.clientWidth))`); wide > 0 {
		t.Errorf("on a telephone %d pixels of a table are out of sight", wide)
	}
	d.picture("console-narrow")
	d.badges()
	d.do(chromedp.EmulateViewport(1000, 800))
	d.byKeyboard()
}

// misplaced lists badges and buttons that are broken into two lines or stick out, what leaves
// its card or is out of sight, and values under their labels. It says whether the page is
// wider than the screen.
const misplaced = `(() => {
	const bad = []
	for (const e of document.querySelectorAll('.tag, .button, button')) {
		if (e.getClientRects().length > 1) bad.push('broken: ' + e.textContent)
		if (!e.closest('.choices') && e.getBoundingClientRect().height > 2.2 * parseFloat(getComputedStyle(e).lineHeight)) bad.push('too high: ' + e.textContent)
		const box = e.closest('td, th, .tile, nav, .head, .choices, section')
		if (box && e.getBoundingClientRect().right > box.getBoundingClientRect().right + 1) bad.push('sticks out: ' + e.textContent)
	}
	for (const e of document.querySelectorAll('.card *, main *')) {
		const box = e.closest('.card, main').getBoundingClientRect(), at = e.getBoundingClientRect()
		if (at.width && !e.closest('.unseen, thead, pre') && (at.left < box.left - 1 || at.right > box.right + 1)) bad.push('leaves its card: ' + e.tagName + ' ' + e.textContent.trim().slice(0, 30))
	}
	for (const e of document.querySelectorAll('.scroll')) if (e.scrollWidth > e.clientWidth) bad.push('out of sight: ' + (e.scrollWidth - e.clientWidth) + ' pixels of ' + e.textContent.trim().slice(0, 30))
	for (const e of document.querySelectorAll('td[data-label] > *')) {
		const cell = e.parentElement
		if (getComputedStyle(cell).display === 'grid' && e.getBoundingClientRect().left < cell.getBoundingClientRect().left + 90) bad.push('under its label: ' + e.textContent.trim().slice(0, 30))
	}
	if (document.documentElement.scrollWidth > innerWidth) bad.push('the page is ' + document.documentElement.scrollWidth + ' wide')
	return bad.slice(0, 8)
})()`

// unfold opens what is folded.
func (d *desk) unfold() {
	d.t.Helper()
	evaluate[int](d.world, `[...document.querySelectorAll('details')].map(d => d.open = true).length`)
}

// badges looks at badges and buttons on screens of all widths.
func (d *desk) badges() {
	d.t.Helper()
	d.unfold()
	for width := int64(320); width <= 1920; width += 160 {
		d.do(chromedp.EmulateViewport(width, 900))
		if bad := evaluate[[]string](d.world, misplaced); len(bad) > 0 {
			d.t.Errorf("at a width of %d: %q", width, bad)
		}
	}
}

// accessible checks what the accessibility tree makes of the page.
func (d *desk) accessible() {
	d.t.Helper()
	const check = `(() => {
		const bad = []
		const one = s => { if (document.querySelectorAll(s).length !== 1) bad.push('not one ' + s) }
		for (const s of ['main', 'header', 'nav[aria-label]', 'h1', 'html[lang]', 'a.skip[href="#main"]']) one(s)
		for (const t of document.querySelectorAll('table')) {
			if (!t.caption) bad.push('a table without a caption')
			for (const th of t.querySelectorAll('th')) if (!th.scope) bad.push('a header without a scope: ' + th.textContent)
		}
		for (const i of document.querySelectorAll('input:not([type=hidden])')) if (!i.labels.length) bad.push('a field without a label: ' + i.id)
		for (const b of document.querySelectorAll('button, a')) if (!(b.getAttribute('aria-label') || b.textContent).trim()) bad.push('a control without a name')
		for (const s of document.querySelectorAll('svg')) if (s.getAttribute('aria-hidden') !== 'true' && !s.getAttribute('aria-label')) bad.push('a block without a label')
		const names = [...document.querySelectorAll('td.act a, td.act button')].map(e => e.getAttribute('aria-label'))
		if (new Set(names).size !== names.length) bad.push('controls of one name: ' + names)
		return bad
	})()`
	if bad := evaluate[[]string](d.world, check); len(bad) > 0 {
		d.t.Errorf("the page is hard to use without seeing it: %q", bad)
	}
}

// byKeyboard revokes the first workspace, and sees that it asks first.
func (d *desk) byKeyboard() {
	d.t.Helper()
	d.do(chromedp.Navigate(d.url), chromedp.WaitVisible(chromedp.CSS("#workspaces")), chromedp.KeyEvent(kb.Tab))
	if at := evaluate[string](d.world, `document.activeElement.className`); at != "skip" {
		d.t.Errorf("the first stop of the keyboard is %q, want the skip link", at)
	}
	d.do(chromedp.KeyEvent(kb.Enter))
	before := len(d.b.Tokens())
	d.reach("Block workspace ci")
	if style := evaluate[string](d.world, `getComputedStyle(document.activeElement).outlineStyle`); style == "none" {
		d.t.Error("what has the focus looks like all else")
	}
	d.do(chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible(chromedp.CSS("#confirm")))
	if h1 := d.text("h1"); h1 != "Block workspace ci?" || len(d.b.Tokens()) != before {
		d.t.Errorf("the button leads to %q with %d tokens alive, want the question and %d", h1, len(d.b.Tokens()), before)
	}
	d.looks("console-ask")
	d.do(chromedp.Click(chromedp.CSS("#cancel")), chromedp.WaitVisible(chromedp.CSS("#workspaces")))
	d.reach("Block workspace ci")
	d.do(chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible(chromedp.CSS("#confirm")))
	d.tabTo("confirm")
	d.do(chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible(chromedp.CSS(".notice")))
	if notice := d.text(".notice"); !strings.Contains(notice, "Blocked.") {
		d.t.Errorf("the page says %q, want that the workspace is blocked", notice)
	}
	if got := d.b.Token("ci", "acme/widgets", "read"); got.Code != 403 {
		d.t.Errorf("the workspace gets %d, want 403", got.Code)
	}
	d.looks("console-revoked")
}

// reach presses Tab until a control of that name has the focus.
func (d *desk) reach(name string) {
	d.t.Helper()
	for range 40 {
		d.do(chromedp.KeyEvent(kb.Tab))
		if evaluate[string](d.world, `document.activeElement.getAttribute("aria-label") || ""`) == name {
			return
		}
	}
	d.t.Fatalf("the keyboard does not reach %q", name)
}

// A page of another site that knows where the console is, and a browser that is
// signed in.
func TestOtherSitesCannotRevoke(t *testing.T) {
	d := newDesk(t)
	d.signInAsOperator()
	evil := httptest.NewServer(evilPage(d.url))
	t.Cleanup(evil.Close)
	for _, host := range []string{"127.0.0.1", "localhost"} {
		page := strings.Replace(evil.URL, "127.0.0.1", host, 1)
		before := len(d.b.Tokens())
		d.complained()
		d.do(chromedp.Navigate(page), chromedp.WaitVisible(chromedp.CSS("#post")))
		if said := strings.Join(d.complained(), "\n"); !strings.Contains(said, "frame-ancestors") {
			t.Errorf("%s: the browser complains of %q, want that it shows no console in a frame", page, said)
		}
		d.do(chromedp.Click(chromedp.CSS("#post")), chromedp.WaitNotPresent(chromedp.CSS("#post")))
		if now := len(d.b.Tokens()); now != before {
			t.Errorf("%s: a form of another page leaves %d tokens, want %d", page, now, before)
		}
	}
	blocks, err := d.b.Blocklist.All(t.Context())
	if err != nil || blocks.App || len(blocks.Workspaces) != 1 {
		t.Errorf("blocked is %+v, %v, want what was blocked before", blocks, err)
	}
}

func evilPage(console string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `<title>evil</title><form method="post" action="%[1]s/console/revoke"><input type="hidden" name="kind" value="app"><button id="post">x</button></form><iframe src="%[1]s/"></iframe>`, console)
	})
}
