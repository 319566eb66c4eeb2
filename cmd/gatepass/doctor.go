package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/gatepass/gatepass/cmd/internal/doctor"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/issuing"
	"github.com/urfave/cli/v2"
)

const doctorAbout = `Looks at both sides of gatepass and changes nothing.

The workspace side: which credential helpers git asks and in what order, every
git on PATH, whether the push guard really fires (at a scratch push that git takes
for one to the first of the hosts, which is not contacted), what stands between git
and the hosts, the policy, the agent, and whether a token can be had, which is shown
by its hash.

The issuing side: whether the store answers and is private, whether GitHub takes
the App's key, where the App is installed and what is granted there, tokens that
nobody refreshes, and what is left of workspaces that are gone. No token is
minted.

The issuing side is looked at where --store or ` + issuing.StoreVariable + ` names a store, or the
default one has an App; the workspace side where there is a workspace file, or no
issuing side. Each line that is not in order says what mends it.

--fix removes what is left of workspaces that are gone: it revokes and deletes
tokens, finishes destructions and removes locks. It asks first; with --yes it
does not.

Examples:
  gatepass doctor            in a clone: for its own configuration too
  gatepass doctor --online   also compare the clock with that of the hosts
  gatepass doctor --gateway  also find proxies and balancers that cut pushes
  gatepass doctor --store 'ssm:///km?region=us-east-1' --fix

It exits with 1 when something would not work or not be safe, and with 0 when
there are only warnings.`

func (w *app) doctorCommand() *cli.Command {
	return &cli.Command{
		Name:        "doctor",
		Usage:       "say what is configured, what shadows what, and whether a token can be had",
		UsageText:   "gatepass doctor [--side SIDE] [--online] [--gateway] [--fix [--yes]] [--store URL] [--github-url URL] [--timeout DURATION] [--json]",
		Description: doctorAbout,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "side", Usage: "which `SIDE` to look at: issuing, workspace or both", DefaultText: "what is set up here"},
			&cli.DurationFlag{
				Name: "timeout", EnvVars: []string{"GATEPASS_DOCTOR_TIMEOUT"}, Usage: "how long to look, at most; for a slow source or store",
				DefaultText: fmt.Sprintf("%s, the issuing side %s", doctor.DefaultLimit, doctor.IssuingLimit),
			},
			&cli.BoolFlag{Name: "online", Usage: "also ask the configured hosts for the time", DisableDefaultText: true},
			&cli.BoolFlag{Name: "gateway", Usage: "also send requests through to the gateway, for about 75 seconds, and say what proxies do to them", DisableDefaultText: true},
			&cli.BoolFlag{Name: "fix", Usage: "remove what is left of workspaces that are gone", DisableDefaultText: true},
			&cli.BoolFlag{Name: "yes", Usage: "with --fix, do not ask", DisableDefaultText: true},
			storeFlag(), githubFlag(), jsonFlag(),
		},
		Action: w.doctor,
	}
}

// diagnosis is the JSON of "doctor".
type diagnosis struct {
	OK       bool             `json:"ok"` // nothing would fail
	Failures int              `json:"failures"`
	Warnings int              `json:"warnings"`
	Hint     string           `json:"hint,omitempty"` // what to do first, where nothing is set up
	Findings []doctor.Finding `json:"findings"`
}

func (w *app) doctor(c *cli.Context) error {
	order, err := w.doctorOrder(c)
	if err != nil {
		return err
	}
	found, err := w.lookAtBoth(c, order)
	if err != nil {
		return err
	}
	d := diagnose(found)
	d.Hint = order.hint
	if c.Bool("json") {
		err = writeJSON(w.stdout, d)
	} else {
		_, err = w.stdout.Write(d.text(marksFor(w.getenv)))
	}
	if err != nil || d.OK {
		return err
	}
	return usererr.New("doctor", count(d.Failures, "thing")+" would not work", "")
}

func diagnose(findings []doctor.Finding) diagnosis {
	d := diagnosis{Findings: findings}
	for _, f := range findings {
		switch f.Level {
		case doctor.Failure:
			d.Failures++
		case doctor.Warning:
			d.Warnings++
		}
	}
	d.OK = d.Failures == 0
	return d
}

// text is one line for each finding, under the name of its group.
func (d diagnosis) text(marks map[doctor.Level]string) []byte {
	var b bytes.Buffer
	if d.Hint != "" {
		b.WriteString(d.Hint + "\n")
	}
	group := ""
	for _, f := range d.Findings {
		if f.Group != group {
			group = f.Group
			fmt.Fprintf(&b, "%s\n", group)
		}
		fmt.Fprintf(&b, "  %s %s", marks[f.Level], usererr.Escape(f.Text))
		if f.Mend != "" {
			fmt.Fprintf(&b, "; to mend it: %s", usererr.Escape(f.Mend))
		}
		b.WriteByte('\n')
	}
	if d.Failures+d.Warnings == 0 {
		b.WriteString("everything is in order\n")
	} else {
		fmt.Fprintf(&b, "%s, %s\n", count(d.Failures, "failure"), count(d.Warnings, "warning"))
	}
	return b.Bytes()
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// marksFor returns the marks that the locale can show, as setlocale(3) chooses
// it from three variables.
func marksFor(getenv func(string) string) map[doctor.Level]string {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		v := strings.ToLower(getenv(name))
		if strings.Contains(v, "utf-8") || strings.Contains(v, "utf8") {
			return map[doctor.Level]string{doctor.OK: "✓", doctor.Warning: "!", doctor.Failure: "✗"}
		}
		if v != "" {
			break
		}
	}
	return map[doctor.Level]string{doctor.OK: "+", doctor.Warning: "!", doctor.Failure: "x"}
}
