package issuing

import (
	"context"
	"crypto/rsa"
	"errors"
	"net/http"
	"strings"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
)

// A Proof is GitHub's word that a key is an App's.
type Proof struct {
	App mint.Registration
	Key *rsa.PublicKey
	// IsPublic says that any account can install the App; nil where GitHub does not
	// say, or was not asked ([App.Public]).
	IsPublic *bool
}

// Public asks whether any account can install the App; nil where GitHub does not
// say.
func (a *App) Public(ctx context.Context, self mint.Registration) *bool {
	if isPublic, err := a.IsPublic(ctx, self); err == nil {
		return &isPublic
	}
	return nil
}

// unlock is what to do before another account than its owner's can install a
// private App.
func (p Proof) unlock(github, owner string) string {
	if p.IsPublic == nil || *p.IsPublic || strings.EqualFold(owner, p.App.Owner.Login) {
		return ""
	}
	return "make it public, since only " + p.App.Owner.Login + " can install a private App: " + PublicURL(github, p.App) + ", then "
}

// PublicURL is where the App's owner makes it public.
func PublicURL(github string, app mint.Registration) string {
	url := SettingsURL(github, app)
	if url == app.HTMLURL {
		return url
	}
	return url + "/advanced"
}

// Prove signs with the App's key and shows it to GitHub. Where the key itself
// could be had, the proof holds it in any case.
func (a *App) Prove(ctx context.Context) (Proof, error) {
	public, err := a.Key.PublicKey(ctx)
	if err != nil {
		return Proof{}, err
	}
	self, err := a.Self(ctx)
	if err != nil {
		return Proof{Key: public}, notTheAppsKey(a.ID, public, err)
	}
	return Proof{App: self, Key: public}, nil
}

// notTheAppsKey says which of App and key GitHub does not know.
func notTheAppsKey(id string, key *rsa.PublicKey, err error) error {
	what := "check the key of the App " + id
	e, ok := errors.AsType[*mint.Error](err)
	switch {
	case !ok || e.Kind != mint.BadKey:
		return err
	case e.Status == http.StatusNotFound:
		return &usererr.Error{
			Op: what, Reason: "GitHub has no App with this ID",
			Hint: "copy the client ID from the App's settings; for GitHub Enterprise, add --github-url", Err: err,
		}
	}
	return &usererr.Error{
		Op: what, Reason: "GitHub does not take the key " + mint.Fingerprint(key) + " for one of this App's: " + e.Message,
		Hint: "compare it with those under Private keys in the App's settings", Err: err,
	}
}

// approvalPage follows the address of an installation's settings. GitHub's own
// link to it is in the banner there, "Review request".
const approvalPage = "/permissions/update"

// PermissionsURL is where the App's owner says what it asks for.
func PermissionsURL(github string, app mint.Registration) string {
	url := SettingsURL(github, app)
	if url == app.HTMLURL {
		return url
	}
	return url + "/permissions"
}

// SettingsURL is the App's page for its owner, with its keys.
func SettingsURL(github string, app mint.Registration) string {
	github = strings.TrimSuffix(github, "/")
	switch app.Owner.Type {
	case "Organization":
		return github + "/organizations/" + app.Owner.Login + "/settings/apps/" + app.Slug
	case "User":
		return github + "/settings/apps/" + app.Slug
	}
	return app.HTMLURL // an enterprise's; the page links to it
}

// InstallURL is where the App is installed on an account.
func InstallURL(app mint.Registration) string { return app.HTMLURL + "/installations/new" }
