package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/mint"
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
		f.found, f.foundErr = issuing.ListInstallations(ctx, app.App)
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

func (f *facts) checkStore() []Finding {
	s := f.store
	what := "the store " + s.url
	if s.err != nil {
		return []Finding{f.trouble(Failure, what+" cannot be read", s.err, "name another with --store or GATEPASS_STORE")}
	}
	var found []Finding
	switch {
	case s.exposedErr != nil:
		found = append(found, f.trouble(Warning, what+" answers, but whether it is private is unknown", s.exposedErr, "see the reason"))
	case len(s.exposed) > 0 && s.isFiles:
		found = append(found, Finding{
			Level: Failure, Text: what + ": other users can use " + these(s.exposed),
			Fix: "run chmod go= on them; then replace the exposed keys and tokens: gatepass app rotate-key, gatepass workspace refresh ID --force",
		})
	case len(s.exposed) > 0:
		found = append(found, Finding{
			Level: Failure, Text: what + " stores unencrypted: " + these(s.exposed), Fix: "create another key in the App's settings, delete that parameter, and run gatepass app add --force",
		})
	case s.isFiles:
		found = append(found, Finding{Level: OK, Text: what + " answers, and only its owner can use it"})
	default:
		found = append(found, Finding{Level: OK, Text: what + " answers"})
	}
	return found
}

func (f *facts) checkApp() []Finding {
	a := f.app
	switch {
	case errors.Is(a.err, store.ErrNotFound):
		return []Finding{FromError(Failure, a.err, "gatepass app create, or gatepass app add")}
	case a.err != nil:
		return []Finding{f.trouble(Failure, "the App cannot be opened", a.err, "gatepass app rotate-key")}
	}
	found := []Finding{f.checkKey(a)}
	if a.clock.taken {
		found = append(found, Clock(hostOf(a.github), a.clock.ahead))
	}
	if a.hasRate {
		found = append(found, a.checkRate())
	}
	return found
}

// checkPool reports on the keys and limits of the other Apps of the pool.
func (f *facts) checkPool() []Finding {
	if f.poolErr != nil {
		return []Finding{f.trouble(Failure, "the list of Apps in the pool cannot be read", f.poolErr, "see the reason")}
	}
	var found []Finding
	for _, a := range f.pool {
		if a.err != nil {
			found = append(found, f.trouble(Failure, "the App "+a.name+" of the pool cannot be opened", a.err, "gatepass app rotate-key --pool "+a.name))
			continue
		}
		of := []Finding{f.checkKey(a)}
		if a.hasRate {
			of = append(of, a.checkRate())
		}
		of = append(of, f.checkInstalledPart(a)...)
		for _, one := range of {
			one.Text = "App " + a.name + " of the pool: " + one.Text
			found = append(found, one)
		}
	}
	return found
}

// checkInstalledPart compares what GitHub and the store know of an App other than the
// first.
func (f *facts) checkInstalledPart(a appFacts) []Finding {
	switch {
	case a.refused != nil:
		return nil // reported already
	case a.foundErr != nil:
		return []Finding{f.trouble(Warning, "where it is installed is unknown", a.foundErr, "run gatepass doctor again")}
	case a.storedErr != nil:
		return []Finding{f.trouble(Failure, "where it is installed cannot be read from the store", a.storedErr, "gatepass app discover --force --pool "+a.name)}
	}
	needs := f.ledger.needs()
	needs.IsPart = true
	st := issuing.Assess(a.github, a.proof, a.found, a.stored, needs)
	var found []Finding
	for _, p := range st.Problems {
		found = append(found, Finding{Level: Warning, Text: p.Text, Fix: p.Fix})
	}
	for _, i := range st.Installations {
		if len(i.Lacking) > 0 {
			found = append(found, Finding{Level: Warning, Text: i.Account + " has not granted it " + mint.LevelsText(i.Lacking) + ", so it is not used for workspaces that need that", Fix: "ask an owner of " + i.Account + " to approve it: " + i.Approve})
		}
	}
	if known := accounts(st, func(i issuing.Installed) bool { return i.State == issuing.Known }); len(known) > 0 {
		found = append(found, Finding{Level: OK, Text: "it is installed on " + these(known) + ", and the store has these installations"})
	}
	return found
}

func (f *facts) checkKey(a appFacts) Finding {
	where := "in the store"
	if a.signerURL != "" {
		where = "at " + redact.Text(a.signerURL, maxURL)
	}
	if a.proof.Key == nil {
		return f.trouble(Failure, "the App's key, "+where+", cannot be opened", a.refused, "see that the key can be reached: gatepass app key check")
	}
	key := "the App's key " + mint.Fingerprint(a.proof.Key) + ", " + where
	switch {
	case a.refused == nil:
		return Finding{Level: OK, Text: key + ": GitHub accepts it for the App " + a.proof.App.Name}
	case isOutage(a.refused):
		return f.trouble(Warning, key+": whether GitHub accepts it is unknown", a.refused, "run gatepass doctor again")
	}
	return f.trouble(Failure, key+" does not work", a.refused, "gatepass app status")
}

// maxURL is the longest URL that is shown, in bytes.
const maxURL = 1000

// isOutage reports whether an error is about GitHub's availability and not about the
// request.
func isOutage(err error) bool {
	failure, ok := errors.AsType[*mint.Error](err)
	return ok && (failure.Kind == mint.Unavailable || failure.Kind == mint.RateLimited) || errors.Is(err, context.DeadlineExceeded)
}

func hostOf(github string) string {
	u, err := url.Parse(github)
	if err != nil || u.Host == "" {
		return "GitHub"
	}
	return strings.ToLower(u.Host)
}

// reservePart is the part of the hourly limit that a refresher reserves for urgent
// requests: one in reservePart.
const reservePart = 10

func (a appFacts) checkRate() Finding {
	text := fmt.Sprintf("%d of %d requests are left", a.rate.Remaining, a.rate.Limit)
	if a.rate.Remaining > a.rate.Limit/reservePart {
		return Finding{Level: OK, Text: text}
	}
	return Finding{
		Level: Warning, Text: text + " until " + a.rate.Reset.UTC().Format(time.RFC3339) + ": tokens that can wait are deferred",
		Fix: "find other programs that use this App; profiles that name repositories need fewer requests than those with wildcards",
	}
}

// checkInstallations compares what GitHub and the store have with what the ledger's
// workspaces need.
func (f *facts) checkInstallations() []Finding {
	a := f.app
	switch {
	case a.err != nil || a.refused != nil:
		return nil // reported already
	case a.foundErr != nil:
		return []Finding{f.trouble(Warning, "where the App is installed is unknown", a.foundErr, "run gatepass doctor again")}
	case a.storedErr != nil:
		return []Finding{f.trouble(Failure, "where the App is installed cannot be read from the store", a.storedErr, "gatepass app discover --force")}
	}
	needs := f.ledger.needs()
	st := issuing.Assess(a.github, a.proof, a.found, a.stored, needs)
	needs.Asked = a.proof.App.Permissions
	var found []Finding
	for _, p := range st.Problems {
		found = append(found, Finding{Level: Failure, Text: p.Text, Fix: p.Fix})
	}
	found = append(found, unneeded(st, needs)...)
	if known := accounts(st, func(i issuing.Installed) bool { return i.State == issuing.Known }); len(known) > 0 {
		found = append([]Finding{{Level: OK, Text: "the App is installed on " + these(known) + ", and the store has these installations"}}, found...)
	}
	return found
}

// unneeded reports installations whose problems do not affect today's workspaces.
func unneeded(st issuing.Status, needs issuing.Needs) []Finding {
	var found []Finding
	for _, i := range st.Installations {
		_, reach := needs.Of(i.Account)
		if reach != issuing.None {
			continue
		}
		switch {
		case i.State == issuing.Stale && !i.IsOtherCase(), i.State == issuing.Changed:
			found = append(found, Finding{
				Level: Warning, Text: i.Account + ": " + i.Note + " (no workspace needs it)", Fix: "gatepass app discover --prune --force",
			})
		case i.State == issuing.Suspended && i.Stored != 0:
			found = append(found, Finding{
				Level: Warning, Text: i.Account + ": the installation is suspended " + i.Note + " (no workspace needs it)", Fix: "ask its owner to unsuspend it: " + i.Settings,
			})
		}
	}
	return append(found, unknown(st, needs)...)
}

// unknown reports installations that the store does not have. A workspace that names
// the account finds its installation by itself; a workspace for all accounts does not.
func unknown(st issuing.Status, needs issuing.Needs) []Finding {
	isMissed := func(i issuing.Installed) bool {
		_, reach := needs.Of(i.Account)
		return i.State == issuing.New && reach == issuing.Covered
	}
	isNew := func(i issuing.Installed) bool { return i.State == issuing.New && !isMissed(i) }
	var found []Finding
	if missed := accounts(st, isMissed); len(missed) > 0 {
		found = append(found, Finding{
			Level: Warning, Text: "the store has no installation of the App on " + these(missed), Fix: "gatepass app discover",
		})
	}
	if others := accounts(st, isNew); len(others) > 0 {
		found = append(found, Finding{Level: OK, Text: "the App is installed on " + these(others) + " too; gatepass app discover would add them"})
	}
	return found
}

func accounts(st issuing.Status, is func(issuing.Installed) bool) []string {
	var logins []string
	for _, i := range st.Installations {
		if is(i) {
			logins = append(logins, i.Account)
		}
	}
	return logins
}
