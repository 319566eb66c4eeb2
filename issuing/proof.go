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

// A Proof is GitHub's confirmation that a key belongs to an App.
type Proof struct {
	App mint.Registration
	Key *rsa.PublicKey
	// IsPublic says whether any account can install the App; nil if GitHub did not say,
	// or was not asked ([App.Public]).
	IsPublic *bool
}

// Public asks GitHub whether any account can install the App; nil if GitHub does not
// say.
func (a *App) Public(ctx context.Context, self mint.Registration) *bool {
	if isPublic, err := a.IsPublic(ctx, self); err == nil {
		return &isPublic
	}
	return nil
}

// unlock returns what to do before an account other than the owner's can install a
// private App; "" if it can.
func (p Proof) unlock(github, owner string) string {
	if p.IsPublic == nil || *p.IsPublic || strings.EqualFold(owner, p.App.Owner.Login) {
		return ""
	}
	return "make it public, since only " + p.App.Owner.Login + " can install a private App: " + PublicURL(github, p.App) + ", then "
}

// PublicURL returns the page on which the owner can make the App public.
func PublicURL(github string, app mint.Registration) string {
	url := SettingsURL(github, app)
	if url == app.HTMLURL {
		return url
	}
	return url + "/advanced"
}

// Prove signs with the App's key and shows the signature to GitHub. If the public key
// could be read, the proof contains it even on an error.
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

// notTheAppsKey returns an error that says whether GitHub does not know the App or the
// key.
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

// approvalPage is appended to the address of an installation's settings. GitHub links
// to it in the banner "Review request" there.
const approvalPage = "/permissions/update"

// PermissionsURL returns the page on which the owner sets the App's permissions.
func PermissionsURL(github string, app mint.Registration) string {
	url := SettingsURL(github, app)
	if url == app.HTMLURL {
		return url
	}
	return url + "/permissions"
}

// SettingsURL returns the App's settings page for its owner, with its keys.
func SettingsURL(github string, app mint.Registration) string {
	github = strings.TrimSuffix(github, "/")
	switch app.Owner.Type {
	case "Organization":
		return github + "/organizations/" + app.Owner.Login + "/settings/apps/" + app.Slug
	case "User":
		return github + "/settings/apps/" + app.Slug
	}
	return app.HTMLURL // for an enterprise's App; this page links to its settings
}

// InstallURL returns the page on which the App can be installed.
func InstallURL(app mint.Registration) string { return app.HTMLURL + "/installations/new" }
