package main

import (
	"fmt"
	"strings"

	"github.com/gatepass/gatepass/cmd/internal/doctor"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/urfave/cli/v2"
)

// fix removes what may be removed, and returns what is found after that. A person
// is shown it all before, and asked once.
func (w *app) fix(c *cli.Context, check *doctor.Checkup, report doctor.Report) ([]doctor.Finding, error) {
	things := report.Fixable()
	if len(things) == 0 {
		return report.All(), nil
	}
	if !c.Bool("yes") {
		agreed, err := w.agree(c, things)
		if err != nil {
			return nil, err
		}
		if !agreed {
			w.note("nothing was removed")
			return report.All(), nil
		}
	}
	return append(report.Remaining().All(), check.Fix(c.Context, things)...), nil
}

// agree lists the things where the question is asked, and asks.
func (w *app) agree(c *cli.Context, things []doctor.Thing) (bool, error) {
	var b strings.Builder
	for _, t := range things {
		fmt.Fprintf(&b, "  %s: --fix %s\n", usererr.Escape(t.What), usererr.Escape(t.Does))
	}
	if _, err := fmt.Fprint(w.stderr, b.String()); err != nil {
		return false, err
	}
	return w.asking.confirm(c.Context, "remove "+count(len(things), "thing")+"?")
}
