//go:build linux

package browser

import (
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// The picture of the README is readable in light and in dark: no text leaves its box, and
// none is written over another.
func TestThePictureOfTheReadme(t *testing.T) {
	chromium := os.Getenv("GATEPASS_TEST_CHROMIUM")
	if chromium == "" {
		t.Skip("missing: Chromium (make test-real sets GATEPASS_TEST_CHROMIUM)")
	}
	w := newPictureWorld(t, chromium)
	server := httptest.NewServer(http.FileServer(http.Dir("../../docs/images")))
	t.Cleanup(server.Close)
	w.do(chromedp.Navigate(server.URL + "/overview.svg"))
	const check = `(() => {
		const bad = [], texts = [...document.querySelectorAll('text')]
		const inside = (a, b) => a.left >= b.left && a.right <= b.right && a.top >= b.top && a.bottom <= b.bottom
		for (const card of document.querySelectorAll('g[id]')) {
			const boxes = [...card.querySelectorAll('rect')].map(r => r.getBoundingClientRect())
			for (const t of card.querySelectorAll('text')) {
				const at = t.getBoundingClientRect()
				const smallest = boxes.filter(b => at.left >= b.left && at.top >= b.top && at.top <= b.bottom).sort((a, b) => a.width - b.width)[0]
				if (!smallest || !inside(at, smallest)) bad.push('leaves its box: ' + t.textContent)
			}
		}
		for (const [i, a] of texts.entries()) for (const b of texts.slice(i + 1)) {
			const p = a.getBoundingClientRect(), q = b.getBoundingClientRect()
			if (p.left < q.right && q.left < p.right && p.top + 2 < q.bottom - 2 && q.top + 2 < p.bottom - 2) bad.push(a.textContent + ' over ' + b.textContent)
		}
		if (texts.length < 20) bad.push(texts.length + ' texts')
		return bad
	})()`
	colours := map[string]string{}
	for _, scheme := range []string{"light", "dark"} {
		w.scheme(scheme)
		if bad := evaluate[[]string](w, check); len(bad) > 0 {
			t.Errorf("%s: %q", scheme, bad)
		}
		colours[scheme] = evaluate[string](w, `getComputedStyle(document.querySelector('text')).fill`)
	}
	if colours["light"] == colours["dark"] {
		t.Errorf("texts are %s in light and in dark", colours["light"])
	}
}

// newPictureWorld is a browser alone.
func newPictureWorld(t *testing.T, chromium string) *world {
	t.Helper()
	gh, err := fakegithub.New(fakegithub.Options{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { gh.Close() })
	w := &world{Server: gh, t: t, home: t.TempDir()}
	w.startBrowser(chromium)
	return w
}
