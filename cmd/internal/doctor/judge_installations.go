package doctor

import (
	"github.com/gatepass/gatepass/issuing"
)

// judgeInstallations compares what GitHub and the store have with what the ledger's
// workspaces need.
func (f *facts) judgeInstallations() []Finding {
	a := f.app
	switch {
	case a.err != nil || a.refused != nil:
		return nil // reported already
	case a.foundErr != nil:
		return []Finding{f.trouble(Warning, "where the App is installed is not known", a.foundErr, "run gatepass doctor again")}
	case a.storedErr != nil:
		return []Finding{f.trouble(Failure, "where the App is installed cannot be read from the store", a.storedErr, "gatepass app discover --force")}
	}
	needs := f.ledger.needs()
	st := issuing.Assess(a.github, a.proof, a.found, a.stored, needs)
	needs.Asked = a.proof.App.Permissions
	var found []Finding
	for _, p := range st.Problems {
		found = append(found, Finding{Level: Failure, Text: p.Text, Mend: p.Mend})
	}
	found = append(found, unneeded(st, needs)...)
	if known := accounts(st, func(i issuing.Installed) bool { return i.State == issuing.Known }); len(known) > 0 {
		found = append([]Finding{{Level: OK, Text: "the App is installed on " + these(known) + ", and the store knows it"}}, found...)
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
				Level: Warning, Text: i.Account + ": " + i.Note + " (no workspace needs it)", Mend: "gatepass app discover --prune --force",
			})
		case i.State == issuing.Suspended && i.Stored != 0:
			found = append(found, Finding{
				Level: Warning, Text: i.Account + ": the installation is suspended " + i.Note + " (no workspace needs it)", Mend: "have it unsuspended: " + i.Settings,
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
			Level: Warning, Text: "the store does not know that the App is installed on " + these(missed), Mend: "gatepass app discover",
		})
	}
	if others := accounts(st, isNew); len(others) > 0 {
		found = append(found, Finding{Level: OK, Text: "the App is installed on " + these(others) + " too, which gatepass app discover would add"})
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
