package issuing

import (
	"context"
	"crypto/rsa"
	"errors"
	"net/http"
	"strings"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
)

// Unchecked is the state of an entry if the broker could not ask GitHub.
const Unchecked State = "unchecked"

// A Status is what GitHub and the store say about one App.
type Status struct {
	Proof         Proof
	Refused       error // why GitHub was not asked further; nil if it was
	Installations []Installed
	Legacy        int64             // installation in the predecessor's format; gatepass does not use it
	Needed        map[string]string // permissions needed on any account
	Problems      []Problem         // what keeps tokens from being minted
}

// Installed is the App on one account, or the store's entry about it.
type Installed struct {
	AccountState
	Granted  map[string]string `json:"granted,omitempty"`
	Lacking  map[string]string `json:"lacking,omitempty"`      // permissions that are needed there and missing
	Settings string            `json:"settings_url,omitempty"` // its page at GitHub
	Approve  string            `json:"approve_url,omitempty"`  // page on which they are approved
}

// A Problem keeps tokens from being minted.
type Problem struct {
	Text string `json:"text"`
	Fix  string `json:"mend,omitempty"`
}

// Examine asks GitHub and the store, and changes nothing. A key that GitHub does not
// accept is a finding, in the Status. It returns an error if the store or GitHub does
// not answer.
func Examine(ctx context.Context, s store.Store, app *App, needs Needs) (Status, error) {
	var st Status
	var err error
	if st.Legacy, err = LegacyInstallation(ctx, s); err != nil {
		return st, err
	}
	stored, err := StoredInstallations(ctx, s)
	if err != nil {
		return st, err
	}
	if st.Proof, st.Refused = app.Prove(ctx); st.Refused != nil {
		st.addUnchecked(stored)
		return st, ctx.Err()
	}
	found, err := ListInstallations(ctx, app.App)
	if err != nil {
		return st, err
	}
	st.Proof.IsPublic = app.Public(ctx, st.Proof.App)
	assessed := Assess(app.GitHub, st.Proof, found, stored, needs)
	assessed.Legacy = st.Legacy
	return assessed, nil
}

func (st *Status) addUnchecked(stored []Stored) {
	st.Problems = []Problem{{Text: st.Refused.Error()}}
	for _, one := range Compare(nil, stored) {
		one.State, one.Note = Unchecked, ""
		st.Installations = append(st.Installations, Installed{AccountState: one})
	}
}

// Assess returns Examine's Status, from what GitHub and the store returned. It depends
// on its arguments only.
func Assess(github string, proof Proof, found []mint.Installation, stored []Stored, needs Needs) Status {
	st := Status{Proof: proof}
	self := proof.App
	needs.Asked = self.Permissions
	st.Needed = needs.All()
	if lacking := mint.Lacking(st.Needed, self.Permissions); len(lacking) > 0 && !needs.IsPart {
		st.addProblem("the App does not request "+mint.LevelsText(lacking), "add it in the App's settings, then ask every account to approve it: "+PermissionsURL(github, self))
	}
	byID := map[int64]mint.Installation{}
	for _, i := range found {
		byID[i.ID] = i
	}
	isInstalled := map[string]bool{}
	for _, one := range Compare(found, stored) {
		isInstalled[strings.ToLower(one.Account)] = true
		st.addAccount(Installed{AccountState: one, Granted: byID[one.ID].Permissions, Settings: byID[one.ID].HTMLURL}, needs)
	}
	for _, owner := range needs.Owners() {
		if !isInstalled[owner] && !needs.IsPart {
			st.addProblem("a profile names "+owner+", but the App is not installed there", proof.publicHint(github, owner)+"install it there: "+InstallURL(self)+", then run gatepass app discover")
		}
	}
	switch {
	case len(found) == 0:
		st.addProblem("the App is not installed on any account", "install it: "+InstallURL(self)+", then run gatepass app discover")
	case len(stored) == 0 && needs.Everything():
		st.addProblem("the store has no installation, so * matches nothing", "run gatepass app discover")
	}
	return st
}

// addAccount adds what is wrong with one account.
func (st *Status) addAccount(i Installed, needs Needs) {
	needed, reach := needs.Of(i.Account)
	if i.State == New {
		i.Note = "not in the store" // no problem: a workspace that names the account still finds it
	}
	usable := i.State != Stale && i.State != Unusable
	if usable && reach != None {
		i.Lacking = mint.Lacking(needed, i.Granted)
	}
	if len(i.Lacking) > 0 && i.Settings != "" {
		i.Approve = i.Settings
		if len(mint.Lacking(i.Lacking, needs.Asked)) < len(i.Lacking) {
			i.Approve += approvalPage // the page exists while the App asks for more than was granted
		}
	}
	st.Installations = append(st.Installations, i)
	if reach != None {
		st.addUnfit(i, reach)
		if len(i.Lacking) > 0 && !needs.IsPart {
			st.addProblem(i.Account+" has not granted "+mint.LevelsText(i.Lacking), "ask an owner of "+i.Account+" to approve it: "+i.Approve)
		}
	}
}

// addUnfit adds problems of the installation itself. It is none if an installation is
// missing in the store but a profile names its account, because it is then looked up,
// or if the store has it in another case, which works.
func (st *Status) addUnfit(i Installed, reach Reach) {
	switch {
	case i.State == Changed:
		st.addProblem(i.Account+": "+i.Note+", GitHub "+idText(i.ID), "run gatepass app discover --force")
	case i.otherCase:
	case i.movedTo != "":
		st.addProblem(i.Account+": "+i.Note, "write "+i.movedTo+" in the profiles, and run gatepass app discover --prune --force")
	case i.State == Stale:
		st.addProblem(i.Account+": "+i.Note, "install the App there: "+InstallURL(st.Proof.App)+", or run gatepass app discover --prune --force")
	case i.State == Suspended && (reach == Named || i.Stored != 0):
		st.addProblem(i.Account+": the installation is suspended "+i.Note, "ask its owner to unsuspend it: "+i.Settings)
	}
}

func (st *Status) addProblem(text, mend string) {
	st.Problems = append(st.Problems, Problem{text, mend})
}

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

// publicHint returns what to do before an account other than the owner's can install a
// private App; "" if it can.
func (p Proof) publicHint(github, owner string) string {
	if p.IsPublic == nil || *p.IsPublic || strings.EqualFold(owner, p.App.Owner.Login) {
		return ""
	}
	return "make it public, because only " + p.App.Owner.Login + " can install a private App: " + PublicURL(github, p.App) + ", then "
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
		Op: what, Reason: "GitHub does not accept the key " + mint.Fingerprint(key) + " for this App: " + e.Message,
		Hint: "compare it with the private keys in the App's settings", Err: err,
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
