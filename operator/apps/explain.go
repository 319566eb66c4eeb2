package apps

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
)

// advice is what the reader of a condition can do about each kind of error.
var advice = map[mint.Kind]string{
	mint.Refused:      "see what the App may do there in its settings at GitHub",
	mint.BadKey:       "correct the App's id (appID or clientID), or give it a private key of that App",
	mint.Skewed:       "set the clock of the operator's node",
	mint.Suspended:    "have the installation unsuspended in the account's GitHub settings",
	mint.NotInstalled: "install the App on that account, or correct installationID or owner",
	mint.NotGranted:   "grant it to the App, and have an owner of the account approve it",
	mint.RateLimited:  "the operator goes on by itself",
	mint.Unavailable:  "the operator tries again by itself",
	mint.Renamed:      "write its new name",
	mint.Replaced:     "find out what became of the one that is meant, and then write the id of the one you mean",
	mint.NotListed:    "have an owner of the account add the operator's public address to its IP allow list",
	mint.BadToken:     "the operator tries again by itself",
}

// Explain returns what a condition says of an error, in one line that ends with what
// to do. The line is the same for the same failure: it has no time and no number of a
// request.
func (a *App) Explain(err error) string {
	e, ok := errors.AsType[*mint.Error](err)
	if !ok {
		return usererr.Escape(err.Error())
	}
	do := advice[e.Kind]
	if e.Kind == mint.NotGranted {
		do = cmp.Or(e.Advice(), do) // it names the page where that is done
	}
	text := e.Doing + ": " + strings.TrimSuffix(e.Why(), ".")
	if do != "" { // a signer's error says by itself what to do
		text += "; " + do
	}
	return usererr.Escape(text)
}

const (
	reasonLife  = 30 * time.Minute // a reason that was found is remembered for this
	mostReasons = 6                // looked for in a minute, of one App: each takes up to 20 of GitHub's points
)

// reasons are what [Registry.Why] found out about one App.
type reasons struct {
	known memo[string, string]
	budget
}

// Why is [App.Explain] for an error of [App.Mint], and says what GitHub does not: which
// repository or permission is not granted and where that is changed, who suspended the
// installation. GitHub is asked for that a few times a minute, so that a thousand
// Tokens that cannot be minted do not use up what others need.
func (r *Registry) Why(ctx context.Context, app *App, g mint.Grant, err error) string {
	plain := app.Explain(err)
	e, ok := errors.AsType[*mint.Error](err)
	if !ok || e.Kind != mint.NotGranted && e.Kind != mint.Suspended {
		return plain
	}
	why, _ := app.reasons.known.get(fmt.Sprint(e.Kind, g), r.now(), func(bool) (string, time.Duration, error) {
		if ok, _ := app.reasons.spend(1, r.now()); !ok {
			return plain, 0, nil
		}
		if found := r.lookFor(ctx, app, e, g); found != "" {
			return found, reasonLife, nil
		}
		return plain, reasonLife, nil
	})
	return why
}

// lookFor asks GitHub for the reason of a refusal; "" where it cannot be found.
func (r *Registry) lookFor(ctx context.Context, app *App, e *mint.Error, g mint.Grant) string {
	found, err := app.Installation(ctx, g.Installation)
	if err != nil {
		return ""
	}
	if e.Kind == mint.Suspended {
		if !found.Suspended() {
			return ""
		}
		by := ""
		if found.SuspendedBy.Login != "" {
			by = " by " + found.SuspendedBy.Login
		}
		return usererr.Escape(fmt.Sprintf("%s: the installation on %s was suspended on %s%s; %s", e.Doing, found.Account.Login, found.SuspendedAt.UTC().Format(time.DateOnly), by, advice[e.Kind]))
	}
	g.Owner = cmp.Or(g.Owner, found.Account.Login)
	if why := app.WhyNot(ctx, g); why != nil {
		return app.Explain(why)
	}
	return ""
}
