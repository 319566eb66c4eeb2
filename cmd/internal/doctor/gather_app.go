package doctor

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/store"
)

// gatherPool calls gatherApp for every App except the first.
func (c *Checkup) gatherPool(ctx context.Context) ([]appFacts, error) {
	names, err := store.PoolApps(ctx, c.Store)
	if err != nil {
		return nil, err
	}
	var all []appFacts
	for _, name := range names {
		all = append(all, c.gatherApp(ctx, name))
	}
	return all, nil
}

// gatherApp asks GitHub once who the App of that name is, and where it is installed.
func (c *Checkup) gatherApp(ctx context.Context, name string) (f appFacts) {
	f.name = name
	of, err := store.OfApp(c.Store, name)
	if err != nil {
		f.err = err
		return f
	}
	app, watch, err := c.openApp(ctx, of)
	if err != nil {
		f.err = err
		return f
	}
	f.github, f.opened = app.GitHub, app
	if f.signerURL, f.err = issuing.SignerURL(ctx, of); f.err != nil {
		return f
	}
	if f.proof, f.refused = app.Prove(ctx); f.refused == nil {
		f.found, f.foundErr = issuing.Found(ctx, app.App)
		f.proof.IsPublic = app.Public(ctx, f.proof.App)
	}
	f.clock = watch.read()
	f.rate, f.hasRate = app.Rate()
	f.stored, f.storedErr = issuing.StoredInstallations(ctx, of)
	return f
}

// openApp opens the App of a store. of is the store as that App sees it.
func (c *Checkup) openApp(ctx context.Context, of store.Store) (*issuing.App, *clockWatch, error) {
	app, err := issuing.LoadApp(ctx, of, c.GitHub)
	if err != nil {
		return nil, nil, err
	}
	watch := &clockWatch{base: http.DefaultTransport, now: c.now}
	if c.Client != nil && c.Client.Transport != nil {
		watch.base = c.Client.Transport
	}
	app.Client, app.Now = &http.Client{Transport: watch}, c.now
	return app, watch, nil
}

// A clockWatch compares this machine's clock with the Date of each answer.
type clockWatch struct {
	base http.RoundTripper
	now  func() time.Time

	mu   sync.Mutex // guards last
	last reading
}

// RoundTrip implements [http.RoundTripper].
func (w *clockWatch) RoundTrip(r *http.Request) (*http.Response, error) {
	sent := w.now()
	resp, err := w.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	took := w.now().Sub(sent)
	theirs, err := http.ParseTime(strings.TrimSpace(resp.Header.Get("Date")))
	if err == nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.last = reading{sent.Add(took / 2).Sub(theirs.Add(500 * time.Millisecond)), true} // a Date has no fractions of a second
	}
	return resp, nil
}

func (w *clockWatch) read() reading {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}
