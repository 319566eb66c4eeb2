package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"github.com/gatepass/gatepass/internal/doctor"
	"github.com/gatepass/gatepass/internal/oneline"
	"github.com/urfave/cli/v2"
)

const doctorAbout = `Looks at how git and gatepass are set up here and changes nothing: which
credential helpers git asks and in what order, every git on PATH, whether the
push guard really fires (a push between two scratch repositories), what stands
between git and the hosts, the policy, the agent, and whether a token can be had,
which is shown by its hash. Each line that is not in order says what mends it.

Examples:
  gatepass doctor            in a clone: for its own configuration too
  gatepass doctor --online   also compare the clock with that of the hosts

It exits with 1 when something would not work or not be safe, and with 0 when
there are only warnings.`

func (w *world) doctorCommand() *cli.Command {
	return &cli.Command{
		Name:        "doctor",
		Usage:       "say what is configured, what shadows what, and whether a token can be had",
		UsageText:   "gatepass doctor [--online] [--timeout DURATION] [--json]",
		Description: doctorAbout,
		Flags: []cli.Flag{
			&cli.DurationFlag{Name: "timeout", Value: doctor.DefaultLimit, EnvVars: []string{"GATEPASS_DOCTOR_TIMEOUT"}, Usage: "how long to look, at most; for a slow source"},
			&cli.BoolFlag{Name: "online", Usage: "also ask the configured hosts for the time", DisableDefaultText: true},
			jsonFlag(),
		},
		Action: w.doctor,
	}
}

// diagnosis is the JSON of "doctor".
type diagnosis struct {
	OK       bool             `json:"ok"` // nothing would fail
	Failures int              `json:"failures"`
	Warnings int              `json:"warnings"`
	Findings []doctor.Finding `json:"findings"`
}

func (w *world) doctor(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	if c.Duration("timeout") <= 0 {
		return usage(c, "--timeout is a time such as 5s")
	}
	dir, err := os.Getwd()
	if err != nil {
		return oneline.Wrap("find the working directory", err, "go to one that exists")
	}
	d := diagnose(doctor.Run(c.Context, doctor.Options{
		Getenv: w.getenv, Environ: os.Environ(), Dir: dir, Online: c.Bool("online"), Limit: c.Duration("timeout"),
	}))
	if c.Bool("json") {
		err = writeJSON(w.stdout, d)
	} else {
		_, err = w.stdout.Write(d.text(marksFor(w.getenv)))
	}
	if err != nil || d.OK {
		return err
	}
	return oneline.New("doctor", count(d.Failures, "thing")+" would not work", "")
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
	group := ""
	for _, f := range d.Findings {
		if f.Group != group {
			group = f.Group
			fmt.Fprintf(&b, "%s\n", group)
		}
		fmt.Fprintf(&b, "  %s %s", marks[f.Level], oneline.Escape(f.Text))
		if f.Mend != "" {
			fmt.Fprintf(&b, "; to mend it: %s", oneline.Escape(f.Mend))
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
