package main

import (
	"fmt"
	"io"

	"github.com/gatepass/gatepass/broker/config"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/urfave/cli/v2"
)

const lintAbout = `Reads a broker's configuration with its profiles, and says what in its rules is
probably not meant: rules that nobody comes to, rules for everybody, names that
somebody else may have tomorrow, patterns that match more than they seem to,
claims that run together in a workspace's id, rules that can make one id of
different claims. It asks nobody. The exit status is 1 where there are failures; warnings are no
failures.

Examples:
  gatepass policy lint
  gatepass policy lint --broker broker.yaml --json`

func brokerFlag() cli.Flag {
	return &cli.StringFlag{Name: "broker", Value: config.DefaultPath, Usage: "the broker's `FILE`", TakesFile: true}
}

func (w *app) policyLintCommand() *cli.Command {
	return &cli.Command{
		Name: "lint", Usage: "say what in a broker's rules is probably not meant",
		UsageText: "gatepass policy lint [--broker FILE] [--json]", Description: lintAbout,
		Flags:  []cli.Flag{brokerFlag(), jsonFlag()},
		Action: w.policyLint,
	}
}

type lintReport struct {
	Broker   string           `json:"broker"`
	Rules    int              `json:"rules"`
	Failures int              `json:"failures"`
	Warnings int              `json:"warnings"`
	Findings []config.Finding `json:"findings"`
}

func (w *app) policyLint(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	file, err := config.LoadDraft(c.String("broker"))
	if err != nil {
		return err
	}
	report := lintReport{Broker: c.String("broker"), Rules: len(file.Callers), Findings: config.Lint(file)}
	for _, f := range report.Findings {
		if f.Level == config.Failure {
			report.Failures++
		} else {
			report.Warnings++
		}
	}
	if c.Bool("json") {
		err = writeJSON(w.stdout, report)
	} else {
		_, err = io.WriteString(w.stdout, report.String())
	}
	if err == nil && report.Failures > 0 {
		return &statusError{status: exitFailed}
	}
	return err
}

func (r lintReport) String() string {
	sum := fmt.Sprintf("%s: %d rules, %d failures, %d warnings\n", usererr.Escape(r.Broker), r.Rules, r.Failures, r.Warnings)
	if len(r.Findings) == 0 {
		return sum
	}
	t := newTable("LEVEL", "RULE", "CHECK", "FINDING")
	for _, f := range r.Findings {
		t.row(f.Level, f.Rule, f.Check, f.Text)
	}
	return t.String() + sum
}
