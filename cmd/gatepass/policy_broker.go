package main

import (
	"errors"
	"fmt"
	"io"
	"os"

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

func (cmd policyCommands) lintCommand() *cli.Command {
	return &cli.Command{
		Name: "lint", Usage: "say what in a broker's rules is probably not meant",
		UsageText: "gatepass policy lint [--broker FILE] [--json]", Description: lintAbout,
		Flags:  []cli.Flag{brokerFlag(), jsonFlag()},
		Action: cmd.lint,
	}
}

type lintReport struct {
	Broker   string           `json:"broker"`
	Rules    int              `json:"rules"`
	Failures int              `json:"failures"`
	Warnings int              `json:"warnings"`
	Findings []config.Finding `json:"findings"`
}

func (cmd policyCommands) lint(c *cli.Context) error {
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
		err = writeJSON(cmd.stdout, report)
	} else {
		_, err = io.WriteString(cmd.stdout, report.text(cmd.screen()))
	}
	if err == nil && report.Failures > 0 {
		return &statusError{status: exitFailed}
	}
	return err
}

func (r lintReport) text(s screen) string {
	sum := fmt.Sprintf("%s: %d rules, %d failures, %d warnings\n", usererr.Escape(r.Broker), r.Rules, r.Failures, r.Warnings)
	if len(r.Findings) == 0 {
		return sum
	}
	t := newTable("LEVEL", "RULE", "CHECK", "FINDING")
	for _, f := range r.Findings {
		t.row(f.Level, f.Rule, f.Check, f.Text)
	}
	return t.text(s) + sum
}

const testAbout = `Tries cases on a broker's rules and profiles, with the code that the broker runs.
It asks nobody: what a case gives is taken as proved. The exit status is 1 where
a case has another outcome than it wants.

A file of cases is a list in YAML:

  - name: the main branch of widgets
    given:
      method: oidc
      issuer: https://token.actions.githubusercontent.com
      claims: {repository_id: "123456", ref: refs/heads/main}
    asks: {repo: acme/widgets, operation: write}
    want: {workspace: ci-123456, profile: ci, rule: "callers[0]"}
  - name: and no other repository
    given: {method: socket, claims: {uid: 1000}}
    asks: {repo: acme/secrets, operation: read}
    refused: repository

Reasons: host, identity, rule, repository, permission, request.

Examples:
  gatepass policy test --broker broker.yaml cases.yaml`

func (cmd policyCommands) testCommand() *cli.Command {
	return &cli.Command{
		Name: "test", Usage: "try cases on a broker's rules",
		UsageText: "gatepass policy test [--broker FILE] CASES... [--json]", Description: testAbout,
		Flags:  []cli.Flag{brokerFlag(), jsonFlag()},
		Action: cmd.test,
	}
}

// maxCases is the largest file of cases, in bytes.
const maxCases = 4 << 20

type testReport struct {
	Broker   string           `json:"broker"`
	Passed   int              `json:"passed"`
	Failed   int              `json:"failed"`
	Outcomes []config.Outcome `json:"outcomes"`
}

func (cmd policyCommands) test(c *cli.Context) error {
	if !c.Args().Present() {
		return usage(c, "a file of cases is missing")
	}
	file, err := config.LoadDraft(c.String("broker"))
	if err != nil {
		return err
	}
	tester, err := config.NewTester(file)
	if err != nil {
		return err
	}
	report := testReport{Broker: c.String("broker")}
	for _, path := range c.Args().Slice() {
		cases, err := loadCases(path)
		if err != nil {
			return usererr.Wrap("read the cases "+path, err, "correct the file")
		}
		for _, one := range cases {
			report.add(tester.Try(c.Context, one))
		}
	}
	if c.Bool("json") {
		err = writeJSON(cmd.stdout, report)
	} else {
		_, err = io.WriteString(cmd.stdout, report.text(cmd.screen()))
	}
	if err == nil && report.Failed > 0 {
		return &statusError{status: exitFailed}
	}
	return err
}

func loadCases(path string) ([]config.Case, error) {
	data, err := readBounded(path, maxCases)
	if err != nil {
		return nil, err
	}
	return config.ParseCases(data)
}

// readBounded reads a file of up to limit bytes that the command line names. The error
// does not repeat its name.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if pathErr, ok := errors.AsType[*os.PathError](err); ok {
		return nil, pathErr.Err
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("it is longer than %d bytes", limit)
	}
	return data, nil
}

func (r *testReport) add(o config.Outcome) {
	r.Outcomes = append(r.Outcomes, o)
	if o.Passed {
		r.Passed++
	} else {
		r.Failed++
	}
}

func (r testReport) text(s screen) string {
	t := newTable("RESULT", "CASE", "OUTCOME")
	for _, o := range r.Outcomes {
		if o.Passed {
			t.row("passed", o.Case, o.Got)
		} else {
			t.row("FAILED", o.Case, o.Got+"; wanted "+o.Wanted)
		}
	}
	return t.text(s) + fmt.Sprintf("%d passed, %d failed\n", r.Passed, r.Failed)
}
