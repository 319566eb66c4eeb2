package issuing

import (
	"context"
	"strings"

	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
)

// Unchecked is the state of an entry if GitHub could not be asked.
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
	Standing
	Granted  map[string]string `json:"granted,omitempty"`
	Lacking  map[string]string `json:"lacking,omitempty"`      // permissions that are needed there and missing
	Settings string            `json:"settings_url,omitempty"` // its page at GitHub
	Approve  string            `json:"approve_url,omitempty"`  // page on which they are approved
}

// A Problem keeps tokens from being minted.
type Problem struct {
	Text string `json:"text"`
	Mend string `json:"mend,omitempty"`
}

// Examine asks GitHub and the store, and changes nothing. A key that GitHub does not
// accept is a finding, in the Status. It returns an error if the store or GitHub does
// not answer.
func Examine(ctx context.Context, s store.Store, app *App, needs Needs) (Status, error) {
	var st Status
	var err error
	if st.Legacy, err = Legacy(ctx, s); err != nil {
		return st, err
	}
	stored, err := StoredInstallations(ctx, s)
	if err != nil {
		return st, err
	}
	if st.Proof, st.Refused = app.Prove(ctx); st.Refused != nil {
		st.unchecked(stored)
		return st, ctx.Err()
	}
	found, err := Found(ctx, app.App)
	if err != nil {
		return st, err
	}
	st.Proof.IsPublic = app.Public(ctx, st.Proof.App)
	assessed := Assess(app.GitHub, st.Proof, found, stored, needs)
	assessed.Legacy = st.Legacy
	return assessed, nil
}

func (st *Status) unchecked(stored []Stored) {
	st.Problems = []Problem{{Text: st.Refused.Error()}}
	for _, one := range Compare(nil, stored) {
		one.State, one.Note = Unchecked, ""
		st.Installations = append(st.Installations, Installed{Standing: one})
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
		st.problem("the App does not ask for "+mint.LevelsText(lacking), "add it in the App's settings, then have every account approve it: "+PermissionsURL(github, self))
	}
	byID := map[int64]mint.Installation{}
	for _, i := range found {
		byID[i.ID] = i
	}
	isInstalled := map[string]bool{}
	for _, one := range Compare(found, stored) {
		isInstalled[strings.ToLower(one.Account)] = true
		st.one(Installed{Standing: one, Granted: byID[one.ID].Permissions, Settings: byID[one.ID].HTMLURL}, needs)
	}
	for _, owner := range needs.Owners() {
		if !isInstalled[owner] && !needs.IsPart {
			st.problem("a profile names "+owner+", where the App is not installed", proof.unlock(github, owner)+"install it there: "+InstallURL(self)+", then run gatepass app discover")
		}
	}
	switch {
	case len(found) == 0:
		st.problem("the App is not installed on any account", "install it: "+InstallURL(self)+", then run gatepass app discover")
	case len(stored) == 0 && needs.Everything():
		st.problem("the store has no installation, so that * means nothing", "run gatepass app discover")
	}
	return st
}

// one adds what is wrong with one account.
func (st *Status) one(i Installed, needs Needs) {
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
		st.unfit(i, reach)
		if len(i.Lacking) > 0 && !needs.IsPart {
			st.problem(i.Account+" has not granted "+mint.LevelsText(i.Lacking), "have an owner of "+i.Account+" approve it: "+i.Approve)
		}
	}
}

// unfit adds problems of the installation itself. It is none if an installation is
// missing in the store but a profile names its account, because it is then looked up,
// or if the store has it in another case, which works.
func (st *Status) unfit(i Installed, reach Reach) {
	switch {
	case i.State == Changed:
		st.problem(i.Account+": "+i.Note+", GitHub "+idText(i.ID), "run gatepass app discover --force")
	case i.otherCase:
	case i.movedTo != "":
		st.problem(i.Account+": "+i.Note, "write "+i.movedTo+" in the profiles, and run gatepass app discover --prune --force")
	case i.State == Stale:
		st.problem(i.Account+": "+i.Note, "install the App there: "+InstallURL(st.Proof.App)+", or run gatepass app discover --prune --force")
	case i.State == Suspended && (reach == Named || i.Stored != 0):
		st.problem(i.Account+": the installation is suspended "+i.Note, "have it unsuspended: "+i.Settings)
	}
}

func (st *Status) problem(text, mend string) {
	st.Problems = append(st.Problems, Problem{text, mend})
}
