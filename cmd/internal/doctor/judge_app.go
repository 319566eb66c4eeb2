package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/gatepass/gatepass/internal/redact"
	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
)

func (f *facts) judgeStore() []Finding {
	s := f.store
	what := "the store " + s.url
	if s.err != nil {
		return []Finding{f.trouble(Failure, what+" cannot be read", s.err, "name another with --store or GATEPASS_STORE")}
	}
	var found []Finding
	switch {
	case s.exposedErr != nil:
		found = append(found, f.trouble(Warning, what+" answers; whether it is private cannot be told", s.exposedErr, "see the reason"))
	case len(s.exposed) > 0 && s.isFiles:
		found = append(found, Finding{
			Level: Failure, Text: what + ": others can use " + these(s.exposed),
			Mend: "chmod go= on them; then replace what lay open: gatepass app rotate-key, gatepass workspace refresh ID --force",
		})
	case len(s.exposed) > 0:
		found = append(found, Finding{
			Level: Failure, Text: what + " keeps in the clear: " + these(s.exposed), Mend: "make another key in the App's settings, delete that parameter, and gatepass app add --force",
		})
	case s.isFiles:
		found = append(found, Finding{Level: OK, Text: what + " answers, and is its owner's alone"})
	default:
		found = append(found, Finding{Level: OK, Text: what + " answers"})
	}
	return found
}

func (f *facts) judgeApp() []Finding {
	a := f.app
	switch {
	case errors.Is(a.err, store.ErrNotFound):
		return []Finding{FromError(Failure, a.err, "gatepass app create, or gatepass app add")}
	case a.err != nil:
		return []Finding{f.trouble(Failure, "the App cannot be opened", a.err, "gatepass app rotate-key")}
	}
	found := []Finding{f.judgeKey(a)}
	if a.clock.taken {
		found = append(found, Clock(hostOf(a.github), a.clock.ahead))
	}
	if a.hasRate {
		found = append(found, a.judgeRate())
	}
	return found
}

// judgePool reports on the keys and limits of the other Apps of the pool.
func (f *facts) judgePool() []Finding {
	if f.poolErr != nil {
		return []Finding{f.trouble(Failure, "which Apps are in the pool cannot be read", f.poolErr, "see the reason")}
	}
	var found []Finding
	for _, a := range f.pool {
		if a.err != nil {
			found = append(found, f.trouble(Failure, "the App "+a.name+" of the pool cannot be opened", a.err, "gatepass app rotate-key --pool "+a.name))
			continue
		}
		of := []Finding{f.judgeKey(a)}
		if a.hasRate {
			of = append(of, a.judgeRate())
		}
		of = append(of, f.judgeInstalledPart(a)...)
		for _, one := range of {
			one.Text = "App " + a.name + " of the pool: " + one.Text
			found = append(found, one)
		}
	}
	return found
}

// judgeInstalledPart compares what GitHub and the store know of an App other than the
// first.
func (f *facts) judgeInstalledPart(a appFacts) []Finding {
	switch {
	case a.refused != nil:
		return nil // reported already
	case a.foundErr != nil:
		return []Finding{f.trouble(Warning, "where it is installed is not known", a.foundErr, "run gatepass doctor again")}
	case a.storedErr != nil:
		return []Finding{f.trouble(Failure, "where it is installed cannot be read from the store", a.storedErr, "gatepass app discover --force --pool "+a.name)}
	}
	needs := f.ledger.needs()
	needs.IsPart = true
	st := issuing.Assess(a.github, a.proof, a.found, a.stored, needs)
	var found []Finding
	for _, p := range st.Problems {
		found = append(found, Finding{Level: Warning, Text: p.Text, Mend: p.Mend})
	}
	for _, i := range st.Installations {
		if len(i.Lacking) > 0 {
			found = append(found, Finding{Level: Warning, Text: i.Account + " has not granted it " + mint.LevelsText(i.Lacking) + ", so that it is not chosen for workspaces which need that", Mend: "have an owner of " + i.Account + " approve it: " + i.Approve})
		}
	}
	if known := accounts(st, func(i issuing.Installed) bool { return i.State == issuing.Known }); len(known) > 0 {
		found = append(found, Finding{Level: OK, Text: "it is installed on " + these(known) + ", and the store knows it"})
	}
	return found
}

func (f *facts) judgeKey(a appFacts) Finding {
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
		return Finding{Level: OK, Text: key + ": GitHub takes it for the App " + a.proof.App.Name}
	case isOutage(a.refused):
		return f.trouble(Warning, key+": whether GitHub takes it is not known", a.refused, "run gatepass doctor again")
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

func (a appFacts) judgeRate() Finding {
	text := fmt.Sprintf("%d of %d requests are left", a.rate.Remaining, a.rate.Limit)
	if a.rate.Remaining > a.rate.Limit/reservePart {
		return Finding{Level: OK, Text: text}
	}
	return Finding{
		Level: Warning, Text: text + " until " + a.rate.Reset.UTC().Format(time.RFC3339) + ": tokens that can wait are left to later",
		Mend: "see what else asks GitHub as this App; profiles that name repositories ask less than those with wildcards",
	}
}
